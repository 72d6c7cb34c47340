"""What every open handle needs, whatever its face: where it lives, threads, fork and exit."""

"""What journalkit does with other people's programs: one module for each."""

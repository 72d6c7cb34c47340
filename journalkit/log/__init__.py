"""The write-ahead log: segments of frames, and commits that share an fsync."""

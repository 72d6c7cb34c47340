"""What is measured: one file per kind of work, and `MEASURES`, which says which rows each gives."""

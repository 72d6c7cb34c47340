"""Tables of sorted entries: written whole, read by block, merged in one pass."""

"""The only code that calls the operating system on files.

`interface` is what the rest of journalkit sees, `posix` the real thing,
`memory` a disk without a disk, `atomic` the one way to replace a file.
"""

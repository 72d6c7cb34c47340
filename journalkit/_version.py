"""The version, here and nowhere else: the build and `journalkit --version` read it from this line."""

__version__ = "0.1.0"

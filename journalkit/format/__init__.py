"""Bytes to values and back, pure: no file, no clock, no thread.

Writers and readers share this package and nothing else. Everything read here
is untrusted until its checksum and its bounds have been checked; what is wrong
raises `MalformedError`, and the layers above say what that means.
"""

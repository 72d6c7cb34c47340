"""Objects: bytes under keys, in a directory or in object storage; what checkpoints and archives lie on.

`interface` is what the layers above see, `directory` and `remote` the two back
ends, `places` finds the one that a path or URL means, `probe` finds out what a
server that nobody knows enforces. `journalkit.testing.SimulatedObjects` is the
third back end, with every fault of a network, and `OBJECTS_CONTRACT` the suite
that all of them hold.
"""

"""Checkpoints of a job: which there are, who may add one, and what lies behind them.

`heads` publishes: who writes, in which epoch, on top of what. `catalogue` is
what a head says of any number of checkpoints. Both stand on
`journalkit.objects`, and know neither states nor chunks.
"""

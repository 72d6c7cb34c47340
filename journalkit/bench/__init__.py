"""Measuring journalkit against others, in one run and turn by turn.

    rows       what is measured, against what, and the goal
    rounds     interleaving: A B, B A, ..., and the ratio of each round
    device     the bare device: what the same durability costs without a store
    rocksdb    RocksDB through `rocksdict`, from the extra `journalkit[bench]`

Machines are noisy: a single time means little, the ratio of two times taken
one after the other means something, and the median of many such ratios is
what is reported, with its spread. A peer that isn't installed is said to be
missing; nothing is ever reported that wasn't run.
"""

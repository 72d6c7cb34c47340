"""Fuzzing: hostile bytes for everything that decodes them.

    python -m fuzz TARGET [--seed N] [--seconds S]
    python -m fuzz smoke            every target, a few seconds each
    python -m fuzz canary           a target with a planted bug, which must be found

Inputs are valid encodings, mutated, and plain noise, drawn from a seed, so that
a finding is repeated by its seed and number. A target says what it decodes and
which errors are an answer; any other exception, a hang or an input that comes
back different is a finding.
"""

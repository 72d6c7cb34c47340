"""Fuzzing: hostile bytes for everything that reads them.

    python -m fuzz TARGET [--seed N] [--seconds S]
    python -m fuzz smoke            every target, two seconds each
    python -m fuzz canary           targets with a planted bug, each of which must be found

A target says what an answer is: a value that encodes to what it came from, or
an error that is declared. Any other exception, a disagreement of two ways to
read the same bytes, an input that takes too long or too much memory, the death
of the process: all of that is a finding, kept as a file that repeats it.

    target       what a target is
    targets      all of them by name
    decoders files stores            the targets, from single keys to whole directories
    canaries     the ones that must fail
    mutation reseal directories draw what inputs are made of; checksums that are right again
    corpus       stored inputs, among them those of findings
    session      one run from outside: its process, its bounds, its finding
    child notes  the same run from inside: the engines, and what they leave behind
"""

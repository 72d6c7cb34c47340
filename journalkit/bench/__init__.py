"""Measuring journalkit against others, in one run and turn by turn.

    registry   which rows there are, and how they are selected
    scale      how much each does: full, quick, tiny
    work       one file per kind of work
    arena      the contenders of a row, side by side, and what becomes of them
    engine     what is asked of an engine; `engines` has one file per engine, and the bare device
    rounds     interleaving, and the ratios within each round
    result     rows, goals, verdicts

Machines are noisy: a single time means little, the ratio of two times taken
one after the other means something, and the median of many such ratios is
what is reported, with its spread. A peer that isn't installed is said to be
missing; nothing is ever reported that wasn't run, and what was written is read
back and compared.
"""

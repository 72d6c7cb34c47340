"""From the files to a consistent state: scan, plan, apply, replay.

`scan` looks and never judges, `plan` judges and never touches, `apply` is the
only code that gives up bytes on open, and `replay` feeds the kept records to
whoever holds state.
"""

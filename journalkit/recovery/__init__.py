"""From the files to a consistent state: scan, plan, apply, replay.

`scan` looks and never judges, `plan` judges and never touches, `apply` is the
only code that gives up bytes on open, and `replay` feeds the kept records to
whoever holds state. `forecast` tells beforehand what `apply` would do.

`salvage` reads what is left, whatever is damaged. `findings` says what
happened there: `evidence` is what bytes prove, `diagnosis` what files say they
are, `autopsy` looks into segments, `autopsy_tables` into tables, and `moved`
finds sectors that stand in the wrong place; `unreadable` goes on where a device
doesn't.
"""

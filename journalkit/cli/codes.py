"""Exit codes, as the contract names them.

0    done; for `verify`: sound
1    `verify`: a torn tail only; `get`: no such key
2    an error, told in one line on standard error; `verify`: damaged
64   wrong usage
130  interrupted
141  the reader of a pipe went away: quiet, as with other tools, which SIGPIPE ends
"""

from __future__ import annotations

from typing import Final

DONE: Final = 0
TORN_TAIL: Final = 1
ABSENT: Final = 1
ERROR: Final = 2
WRONG_USAGE: Final = 64
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141

"""The modules of this folder import each other by their plain names, as they do when it is run as a program."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

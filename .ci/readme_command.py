"""Print one of the README's commands, so that CI runs what a reader pastes.

Usage: python readme_command.py NAME [README.md]
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def command(readme: str, name: str) -> str:
    """Return the one line of the fenced block under `<!-- command: NAME -->`."""
    pattern = rf"<!-- command: {re.escape(name)} -->\n```sh\n([^\n]+)\n```\n"
    found = re.findall(pattern, readme)
    if len(found) != 1:
        raise SystemExit(f"README.md has {len(found)} one-line commands marked {name!r}, it must have one")
    return str(found[0])


if __name__ == "__main__":
    path = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent.parent / "README.md"
    print(command(path.read_text(encoding="utf-8"), sys.argv[1]))

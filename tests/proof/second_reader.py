"""The second oracle: docs/reference/read_store.py, loaded by its path, with an accelerated checksum.

    judgement = judge_images({"MANIFEST": b"...", "log-0000000000000001.jks": b"...", ...})
    judgement.verdict    # "sound", "torn", "damaged", "unsupported", or "absent" if there is no store
    judgement.findings   # Finding(kind, file, offset, lsn, reason); of the kind "torn", "damaged" or "unsupported"
    judgement.files("damaged")           # the files that these findings are about
    judgement.state      # encoded key -> encoded value, offsets included; {} for a journal; None: nothing may be served
    judgement.decoded()  # the same as Python's values; an offset's key is ("offsets", name)
    judgement.last_lsn, judgement.snapshot_lsn
    judgement.records    # Record(lsn, kind, time_us, durable_lsn, file, offset, payload), as far as could be read

`files` holds the store's own folder, by plain names; what lies in `quarantine/`
isn't looked at. An open has to be refused where `state` is None, and to give
this state where it isn't. A verdict of "damaged" with a state means that the
damage lies in something that another sound copy stands in for: an open serves,
`journalkit verify` names it.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import crc32c

PATH = Path(__file__).parents[2] / "docs" / "reference" / "read_store.py"


def _load() -> ModuleType:
    name = "journalkit_second_reader"
    spec = importlib.util.spec_from_file_location(name, PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


READER = _load()


def judge_images(files: Mapping[str, bytes]) -> Any:
    """Judge a directory by its files' bytes, without the package."""
    return READER.judge(files, crc32c.crc32c)

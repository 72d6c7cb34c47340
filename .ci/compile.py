"""The build's one step that isn't copying: `journalkit/native/` becomes `journalkit._speed`, where there is a compiler.

hatchling calls it. One build serves every version of Python from 3.11 on (the
limited API), and the wheel's name says so. Without a compiler the wheel is the
pure one, for every machine, and the build says why.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
import tempfile
from glob import glob
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NAME = "journalkit._speed"


class Compile(BuildHookInterface[Any]):
    """The hook of both kinds of wheel: the usual one, and the editable, which has the extension in the tree."""

    _scratch = ""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and have the wheel take what came out."""
        self._scratch = tempfile.mkdtemp()
        root = Path(self.root)
        try:
            built = compiled(root, root if version == "editable" else Path(self._scratch), self._scratch)
        except Exception as error:  # noqa: BLE001 - setuptools raises many; none of them may stop an installation
            self.app.display_warning(f"journalkit is installed as pure Python, complete and slower: {error}")
            return
        if version != "editable":
            build_data["force_include"][str(built)] = f"journalkit/{built.name}"
        build_data["pure_python"] = False
        build_data["tag"] = "cp311-abi3-" + sysconfig.get_platform().replace("-", "_").replace(".", "_")

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Leave nothing behind."""
        shutil.rmtree(self._scratch, ignore_errors=True)


def compiled(root: Path, target: Path, scratch: str) -> Path:
    """Build the extension below `target`, and return where it is."""
    from setuptools import Extension
    from setuptools.command.build_ext import build_ext
    from setuptools.dist import Distribution

    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise RuntimeError("it is compiled for CPython with its lock alone")
    extension = Extension(
        NAME,
        sorted(str(root / source) for source in glob("journalkit/native/*.c", root_dir=root)),
        extra_compile_args=["-O2", "-std=gnu11", "-fvisibility=hidden"],
        py_limited_api=True,
    )
    command = build_ext(Distribution({"name": "journalkit", "ext_modules": [extension]}))
    command.build_lib, command.build_temp, command.force = str(target), scratch, True
    command.ensure_finalized()
    command.run()
    return Path(command.get_ext_fullpath(NAME))

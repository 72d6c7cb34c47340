"""The one part of the build that pyproject.toml can't say: the extension, and that it is optional.

Where there is no compiler the extension isn't built and journalkit is pure Python, which is complete and slower.
One build serves every version of Python from 3.11 on (the limited API).
"""

from __future__ import annotations

from glob import glob

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "journalkit._speed",
            sources=sorted(glob("native/*.c")),
            depends=["native/native.h"],
            extra_compile_args=["-O2", "-std=gnu11", "-fvisibility=hidden"],
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)

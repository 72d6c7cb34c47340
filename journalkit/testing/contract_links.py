"""What second names owe: part of `journalkit.testing.contract`.

Object back ends publish with them, so that of several writers one gets a name.
"""

from __future__ import annotations

import errno
import threading
from typing import Final

from journalkit.fs.interface import FileSystem
from journalkit.testing.expect import put, read, refused


def link_gives_a_file_a_second_name_of_the_same_standing(fs: FileSystem, root: str) -> None:
    """What was written under a temporary name is published without a copy; either name may go first."""
    put(fs, f"{root}/a", b"bytes")
    fs.make_directory(f"{root}/d")
    fs.link(f"{root}/a", f"{root}/d/b")
    one, other = fs.status(f"{root}/a"), fs.status(f"{root}/d/b")
    assert one == other
    file = fs.open_write(f"{root}/d/b")
    file.pwrite(b"BYTES", 0)
    file.close()
    assert read(fs, f"{root}/a") == b"BYTES"
    fs.rename(f"{root}/a", f"{root}/d/b")  # two names of one file: nothing to do
    assert (list(fs.list(root)), list(fs.list(f"{root}/d"))) == (["a", "d"], ["b"])
    fs.unlink(f"{root}/a")
    fs.rename(f"{root}/d/b", f"{root}/c")
    assert (read(fs, f"{root}/c"), fs.list(f"{root}/d")) == (b"BYTES", [])


def link_refuses_every_name_that_is_taken_and_changes_nothing(fs: FileSystem, root: str) -> None:
    """It is how one of several writers gets a name."""
    put(fs, f"{root}/a", b"mine")
    put(fs, f"{root}/b", b"theirs")
    fs.make_directory(f"{root}/d")
    for taken in ("b", "d", "a"):
        with refused(errno.EEXIST):
            fs.link(f"{root}/a", f"{root}/{taken}")
    with refused(errno.ENOENT):
        fs.link(f"{root}/absent", f"{root}/new")
    with refused(errno.ENOENT):
        fs.link(f"{root}/a", f"{root}/absent/new")
    with refused(errno.EPERM):
        fs.link(f"{root}/d", f"{root}/new")
    assert (list(fs.list(root)), read(fs, f"{root}/b")) == (["a", "b", "d"], b"theirs")


def of_threads_that_link_one_name_one_gets_it(fs: FileSystem, root: str) -> None:
    """Two winners are two writers."""
    won: list[int] = []

    def race(me: int) -> None:
        put(fs, f"{root}/{me}", bytes([me]))
        try:
            fs.link(f"{root}/{me}", f"{root}/name")
        except FileExistsError:
            return
        won.append(me)

    threads = [threading.Thread(target=race, args=(me,)) for me in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [read(fs, f"{root}/name")] == [bytes([me]) for me in won]


LINK_CHECKS: Final = (
    link_gives_a_file_a_second_name_of_the_same_standing,
    link_refuses_every_name_that_is_taken_and_changes_nothing,
    of_threads_that_link_one_name_one_gets_it,
)

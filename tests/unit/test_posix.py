"""The real file system: what only a kernel can answer, within one process."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import journalkit
from journalkit.fs.interface import WritableFile
from journalkit.fs.posix import PosixFileSystem
from journalkit.log.reader import CHUNK_BYTES

FS = PosixFileSystem()


def descriptors() -> dict[str, str]:
    """Return the process's open descriptors and what they are of."""
    gc.collect()  # what earlier tests left in cycles would else go at any moment
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue  # the listing's own
    return found


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where a test puts its file."""
    return str(tmp_path / "a")


@pytest.fixture
def file(path: str) -> WritableFile:
    """A new, empty file, open for writing."""
    return FS.create(path)


# -- modes, links, and what is no file -------------------------------------------------------------


def test_new_files_and_directories_are_their_owners_alone(tmp_path: Path, path: str) -> None:
    """State is private unless somebody says otherwise."""
    FS.create(path).close()
    lock = FS.lock(str(tmp_path / "LOCK"))
    assert lock is not None
    lock.close()
    FS.make_directory(str(tmp_path / "d"))
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "LOCK", "d")]
    assert modes == [0o600, 0o600, 0o700]


@pytest.mark.parametrize("opener", ["open_read", "open_write", "open_direct", "lock"])
def test_a_symbolic_link_is_never_followed(tmp_path: Path, opener: str) -> None:
    """A link planted in a shared directory would turn our write into somebody's."""
    (tmp_path / "victim").write_bytes(b"untouched")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError) as caught:
        getattr(FS, opener)(str(tmp_path / "link"))
    assert caught.value.errno == errno.ELOOP
    with pytest.raises(FileExistsError):
        FS.create(str(tmp_path / "link"))
    status = FS.status(str(tmp_path / "link"))
    assert status is not None
    assert (status.is_directory, status.inode) == (False, (tmp_path / "link").lstat().st_ino)


@pytest.mark.parametrize("opener", ["open_read", "open_write", "open_direct", "lock"])
def test_a_fifo_is_refused_without_waiting_for_its_other_end(tmp_path: Path, opener: str) -> None:
    """`verify` on a hostile directory must not hang, and leaves no descriptor behind."""
    os.mkfifo(tmp_path / "fifo")
    before = descriptors()
    with pytest.raises(OSError) as caught:
        getattr(FS, opener)(str(tmp_path / "fifo"))
    assert caught.value.errno == errno.EINVAL
    assert descriptors() == before


# -- descriptors -----------------------------------------------------------------------------------


def test_no_descriptor_passes_to_a_program_that_is_run(file: WritableFile, tmp_path: Path) -> None:
    """A long-lived subprocess would keep the lock and the room of pruned files."""
    lock = FS.lock(str(tmp_path / "LOCK"))
    assert lock is not None
    ours = [number for number, name in descriptors().items() if name.startswith(str(tmp_path))]
    assert len(ours) == 2
    assert all(fcntl.fcntl(int(number), fcntl.F_GETFD) & fcntl.FD_CLOEXEC for number in ours)
    lock.close()
    file.close()


def test_closing_gives_the_descriptor_back_and_a_late_write_hits_nobody(file: WritableFile, tmp_path: Path) -> None:
    """The kernel hands the number to the next file that is opened."""
    number = next(number for number, name in descriptors().items() if name.startswith(str(tmp_path)))
    file.close()
    assert number not in descriptors()
    other = FS.create(str(tmp_path / "other"))
    assert descriptors()[number] == str(tmp_path / "other")
    with pytest.raises(OSError):
        file.pwrite(b"late", 0)
    file.close()
    assert other.size() == 0
    other.close()


def test_a_file_that_nobody_holds_closes_itself(tmp_path: Path) -> None:
    """A dropped handle must not use up the process's descriptors."""
    before = descriptors()
    FS.create(str(tmp_path / "a"))
    assert descriptors() == before


def test_a_read_under_way_keeps_its_descriptor_through_a_close(path: str, file: WritableFile) -> None:
    """One thread closes, another reads: the number can't become another file in between."""
    file.pwrite(b"mine" * 1000, 0)
    wrong: list[object] = []

    def read() -> None:
        reader = FS.open_read(path)
        closer = threading.Thread(target=reader.close)
        closer.start()
        try:
            while True:
                data = reader.pread(4000, 0)
                if data != b"mine" * 1000:
                    wrong.append(data)
        except OSError as error:
            if error.errno != errno.EBADF:
                wrong.append(error)
        closer.join()

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    file.close()


# -- room ------------------------------------------------------------------------------------------


def test_allocated_room_is_really_there(file: WritableFile, path: str) -> None:
    """A hole of that size would still meet a full disk later."""
    file.allocate(0, 1 << 20)
    assert os.stat(path).st_blocks * 512 >= 1 << 20
    file.close()


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, None])
def test_without_fallocate_zeros_are_written_behind_the_end_only(
    file: WritableFile, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    """ZFS and macOS have no such call; over existing bytes the zeros would be damage."""

    def refuse(*_: object) -> None:
        raise OSError(number, "no fallocate here")

    if number is None:
        monkeypatch.delattr(os, "posix_fallocate")
    else:
        monkeypatch.setattr(os, "posix_fallocate", refuse)
    file.pwrite(b"data", 0)
    file.allocate(1, 3 << 20)
    assert file.size() == (3 << 20) + 1
    assert file.pread(8, 0) == b"data\0\0\0\0"
    file.allocate(0, 10)
    file.allocate(4 << 20, 10)
    assert file.size() == (4 << 20) + 10
    file.close()


@pytest.mark.parametrize("has_fallocate", [True, False])
def test_room_that_is_refused_leaves_size_and_bytes(
    path: str, monkeypatch: pytest.MonkeyPatch, has_fallocate: bool
) -> None:
    """A quota met half-way must not leave the file longer than the log believes."""
    program = (
        "import errno, os, resource\n"
        "from journalkit.fs.posix import PosixFileSystem\n"
        f"{'' if has_fallocate else 'del os.posix_fallocate'}\n"
        f"file = PosixFileSystem().create({path!r})\n"
        "file.pwrite(b'data', 0)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "try:\n"
        "    file.allocate(0, 3 << 20)\n"
        "except OSError as error:\n"
        "    print(errno.errorcode[error.errno], file.size(), file.pread(99, 0), flush=True)\n"
    )
    found = str(Path(next(iter(journalkit.__path__))).parent)
    environment = {**os.environ, "PYTHONPATH": found}
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, env=environment).stdout
    assert output == b"EFBIG 4 b'data'\n"


def test_free_bytes_are_what_an_unprivileged_writer_gets(tmp_path: Path) -> None:
    """Root's reserved blocks would make a full disk look roomy."""
    numbers = os.statvfs(tmp_path)
    assert abs(FS.free_bytes(str(tmp_path)) - numbers.f_bavail * numbers.f_frsize) < 1 << 30
    assert FS.free_bytes(str(tmp_path)) <= numbers.f_blocks * numbers.f_frsize


# -- reads -----------------------------------------------------------------------------------------


def test_a_read_that_the_kernel_cuts_short_is_gone_on_with(file: WritableFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux gives at most 2 GiB at once, FUSE and signals less; only the end of the file is short."""
    data = bytes(range(256)) * 4
    file.pwrite(data, 0)
    true_pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, count, offset: true_pread(fd, min(count, 100), offset))
    assert file.pread(1000, 10) == data[10:1010]
    assert file.pread(2000, 10) == data[10:]
    file.close()


def has_direct_descriptor(path: str) -> bool:
    """Whether this process has the file open with O_DIRECT."""
    return any(
        fcntl.fcntl(int(number), fcntl.F_GETFL) & os.O_DIRECT for number, name in descriptors().items() if name == path
    )


def test_direct_reads_bypass_the_cache_where_the_file_system_can(path: str, file: WritableFile) -> None:
    """The flag is what recovery asks for; a plain read would show what a failed sync left in memory."""
    data = bytes(range(251)) * 8400
    file.pwrite(data, 0)
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT))
        can = True
    except OSError:
        can = False
    direct = FS.open_direct(path)
    assert has_direct_descriptor(path) == can
    assert direct.pread(len(data), 0) == data
    assert direct.pread(len(data), 4097) == data[4097:]
    assert direct.pread(3, len(data) - 1) == data[-1:]
    for count, offset in ((-1, 0), (1, -1)):
        with pytest.raises(OSError):
            direct.pread(count, offset)
    assert has_direct_descriptor(path) == can
    direct.close()
    file.close()


@pytest.mark.parametrize("offset", [0, 1, 4095, 4096, 5000])
def test_a_direct_read_of_a_chunk_asks_the_device_once(
    path: str, file: WritableFile, monkeypatch: pytest.MonkeyPatch, offset: int
) -> None:
    """Recovery reads the tail in chunks that begin anywhere; twice each would double what it waits for."""
    file.pwrite(bytes(3 * CHUNK_BYTES), 0)
    asked: list[int] = []
    true_preadv = os.preadv

    def count(fd: int, buffers: list[memoryview], at: int) -> int:
        asked.append(len(buffers[0]))
        return true_preadv(fd, buffers, at)

    monkeypatch.setattr(os, "preadv", count)
    reader = FS.open_direct(path)
    assert len(reader.pread(CHUNK_BYTES, offset)) == CHUNK_BYTES
    assert len(asked) == 1
    assert asked[0] <= CHUNK_BYTES + 4096
    reader.close()
    file.close()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP, None])
def test_a_file_system_without_direct_reads_is_read_plainly(
    path: str, file: WritableFile, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    """Some refuse the flag at open, some platforms don't have it; recovery goes on with what there is."""
    true_open, direct = os.open, os.O_DIRECT

    def refuse(name: str, flags: int, mode: int) -> int:
        if flags & direct:
            raise OSError(number, "no direct reads here", name)
        return true_open(name, flags, mode)

    if number is None:
        monkeypatch.delattr(os, "O_DIRECT")
    monkeypatch.setattr(os, "open", refuse)
    file.pwrite(b"plain", 0)
    reader = FS.open_direct(path)
    assert reader.pread(9, 1) == b"lain"
    reader.close()
    file.close()


def test_a_device_that_refuses_the_direct_read_itself_is_read_plainly(
    path: str, file: WritableFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some accept the flag and then want a larger block than anybody expected."""
    data = b"0123456789" * 2000
    file.pwrite(data, 0)
    true_preadv = os.preadv

    def refuse(fd: int, buffers: list[memoryview], offset: int) -> int:
        if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return true_preadv(fd, buffers, offset)

    reader = FS.open_direct(path)
    monkeypatch.setattr(os, "preadv", refuse)
    assert reader.pread(5000, 7) == data[7:5007]
    reader.close()
    file.close()


def test_an_error_of_the_device_is_not_read_around(
    path: str, file: WritableFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EIO from the medium must never turn into bytes from the cache."""
    file.pwrite(b"x", 0)
    reader = FS.open_direct(path)

    def fail(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(OSError) as caught:
        reader.pread(1, 0)
    assert caught.value.errno == errno.EIO
    reader.close()
    file.close()


def test_an_error_at_a_direct_open_is_not_opened_around(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many open files is not a lack of O_DIRECT."""

    def fail(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(OSError) as caught:
        FS.open_direct(path)
    assert caught.value.errno == errno.EMFILE


@pytest.mark.parametrize("is_there", [True, False])
def test_advice_that_the_kernel_refuses_or_does_not_know_is_no_error(
    file: WritableFile, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    """Nothing relies on the cache being dropped."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    if is_there:
        monkeypatch.setattr(os, "posix_fadvise", refuse)
    else:
        monkeypatch.delattr(os, "posix_fadvise")
    file.drop_cache()
    getattr(file, "write_behind")(0, 1)  # noqa: B009 - a kind of file besides
    file.close()


def test_a_failed_sync_of_a_directory_gives_its_descriptor_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is the caller's; the descriptor isn't."""

    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    before = descriptors()
    with pytest.raises(OSError) as caught:
        FS.sync_directory(str(tmp_path))
    assert caught.value.errno == errno.EIO
    assert descriptors() == before

"""The bytes of heads and catalogue pages: a fixed header and a CBOR body, both checksummed.

A head is the whole truth about a job's checkpoints at one moment: who wrote
it, which checkpoints there are, what waits in the trash. A page holds
checkpoints, or pages, that are too many for the head.

What they are for, and who may write the next one, is decided in
`journalkit.checkpoint.heads`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from journalkit.format.envelope import Bounds, Envelope, names_of, plain_of
from journalkit.format.malformed import MalformedError

HEAD_MAGIC: Final = b"JKHED\r\n\x1a"
PAGE_MAGIC: Final = b"JKPAG\r\n\x1a"
VERSION: Final = 1
BYTES_MAX: Final = 4 << 20
"""Of a head or a page: what is larger isn't one."""

_HEAD: Final = Envelope("head", HEAD_MAGIC, VERSION, "checkpoints")
_PAGE: Final = Envelope("page", PAGE_MAGIC, VERSION, "checkpoints")

NUMBER_MAX: Final = 10**10 - 1
"""The largest number of a head, an epoch or a save: keys have ten digits."""
NONCE_BYTES: Final = 16
DIGEST_BYTES: Final = 32
ANCESTORS_MAX: Final = 64
PAGED_MAX: Final = 1000
"""How many checkpoints, pages or trashed ones one head or page names at most. Writers stay far below."""
LEVEL_MAX: Final = 8
NAME_CHARACTERS_MAX: Final = 200
METRICS_MAX: Final = 64
OPTIONAL: Final = "restores"
"""Only there if it says something: what was written before there was such a thing is read as it was."""
_SIZE_MAX: Final = (1 << 62) - 1
_ID: Final = re.compile(r"[1-9]\d{0,9}\.[1-9]\d{0,9}", re.ASCII)

WRITERS: Final = ("several", "one")


@dataclass(frozen=True, slots=True)
class CheckpointEntry:
    """One checkpoint: which save of which epoch, and how its manifest is known again.

    `time_us` is a label. A named checkpoint stays until it is deleted by name.
    `restores` is the id of the one that it brings back ("3.17"), "" as a rule.
    """

    epoch: int
    save: int
    time_us: int
    manifest_bytes: int
    manifest_digest: bytes
    name: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    restores: str = ""

    @property
    def place(self) -> tuple[int, int]:
        """What it is known by, and sorts by."""
        return self.epoch, self.save


@dataclass(frozen=True, slots=True)
class PageEntry:
    """One page: of checkpoints (level 0), or of pages of the level below.

    `first_*` and `last_*` are the least and the greatest of its checkpoints.
    """

    level: int
    epoch: int
    nonce: bytes
    count: int
    first_epoch: int
    first_save: int
    last_epoch: int
    last_save: int
    page_bytes: int
    page_digest: bytes

    def may_hold(self, place: tuple[int, int]) -> bool:
        """Whether a checkpoint of that place would be in it."""
        return (self.first_epoch, self.first_save) <= place <= (self.last_epoch, self.last_save)


@dataclass(frozen=True, slots=True)
class TrashEntry:
    """One checkpoint that was deleted, and when: its bytes go later."""

    checkpoint: CheckpointEntry
    since_us: int


@dataclass(frozen=True, slots=True)
class Head:
    """What there is at one moment. Checkpoints and pages: oldest first.

    `ancestors` are the nonces of the heads before this one, the latest first:
    by them a writer whose head is gone already knows whether it counted.
    """

    job: bytes
    number: int
    epoch: int
    nonce: bytes
    time_us: int
    writers: str = "several"
    boundary_epoch: int = 0
    ancestors: tuple[bytes, ...] = ()
    checkpoints: tuple[CheckpointEntry, ...] = ()
    pages: tuple[PageEntry, ...] = ()
    trash: tuple[TrashEntry, ...] = ()

    def nonce_of(self, number: int) -> bytes | None:
        """Return the nonce of the head of that number that this one stands on, itself included; None if forgotten."""
        back = self.number - number
        if back == 0:
            return self.nonce
        return self.ancestors[back - 1] if 0 < back <= len(self.ancestors) else None


@dataclass(frozen=True, slots=True)
class Page:
    """Checkpoints (level 0), or pages of the level below; oldest first."""

    job: bytes
    level: int
    nonce: bytes
    checkpoints: tuple[CheckpointEntry, ...] = ()
    pages: tuple[PageEntry, ...] = ()


_Part: TypeAlias = CheckpointEntry | PageEntry | TrashEntry | Head | Page

_BOUNDS: Final = Bounds(
    {
        **dict.fromkeys(
            ("number", "epoch", "save", "boundary_epoch", "first_epoch", "first_save", "last_epoch", "last_save"),
            NUMBER_MAX,
        ),
        "level": LEVEL_MAX,
        "page_bytes": BYTES_MAX,
    },
    _SIZE_MAX,
    {
        **dict.fromkeys(("job", "nonce"), NONCE_BYTES),
        **dict.fromkeys(("manifest_digest", "page_digest"), DIGEST_BYTES),
    },
)


def encode_head(head: Head) -> bytes:
    """Return a head's bytes.

    Raises:
        MalformedError: It says something that no head may.
    """
    check_head(head)
    return _HEAD.seal_plain(_as_plain(head))


def encode_page(page: Page) -> bytes:
    """Return a page's bytes. Raises as `encode_head`."""
    check_page(page)
    return _PAGE.seal_plain(_as_plain(page))


def decode_head(data: bytes) -> Head:
    """Return what a head says.

    Raises:
        MalformedError: It is none, or is damaged.
        NewerFormatError: It is whole, and of a later version.
    """
    head: Head = _decoded(data, _HEAD, "head", Head)
    check_head(head)
    return head


def decode_page(data: bytes) -> Page:
    """Return what a page holds. Raises as `decode_head`."""
    page: Page = _decoded(data, _PAGE, "page", Page)
    check_page(page)
    return page


def check_head(head: Head) -> None:
    """Raise MalformedError where fields contradict each other: whole bytes can still be wrong."""
    _BOUNDS.check(head)
    if head.number < 1 or head.epoch < 1 or head.boundary_epoch > head.epoch:
        raise MalformedError("a head's number or epoch is out of range")
    if head.writers not in WRITERS:
        raise MalformedError(f"the writers are {head.writers!r:.50}")
    if len(head.ancestors) >= min(head.number, ANCESTORS_MAX + 1):
        raise MalformedError("a head has more ancestors than there can be")
    if any(type(nonce) is not bytes or len(nonce) != NONCE_BYTES for nonce in head.ancestors):
        raise MalformedError("an ancestor is no nonce")
    _check_many(head.checkpoints, head.pages, head.trash)
    for trashed in head.trash:
        check_entry(trashed.checkpoint)


def check_page(page: Page) -> None:
    """Raise MalformedError where fields contradict each other."""
    _BOUNDS.check(page)
    if bool(page.checkpoints) == bool(page.pages) or (page.level == 0) != bool(page.checkpoints):
        raise MalformedError("a page holds checkpoints or pages, as its level says")
    if any(entry.level != page.level - 1 for entry in page.pages):
        raise MalformedError("a page holds pages of the level below it")
    _check_many(page.checkpoints, page.pages, ())


def _check_many(
    checkpoints: tuple[CheckpointEntry, ...], pages: tuple[PageEntry, ...], trash: tuple[TrashEntry, ...]
) -> None:
    if max(len(checkpoints), len(pages), len(trash)) > PAGED_MAX:
        raise MalformedError(f"more than {PAGED_MAX} of a kind are named")
    for checkpoint in checkpoints:
        check_entry(checkpoint)
    places = [checkpoint.place for checkpoint in checkpoints]
    if places != sorted(set(places)):
        raise MalformedError("checkpoints are out of order")
    for entry in pages:
        _BOUNDS.check(entry)
        if not entry.count or (entry.first_epoch, entry.first_save) > (entry.last_epoch, entry.last_save):
            raise MalformedError("a page is empty, or ends before it begins")
    for trashed in trash:
        _BOUNDS.check(trashed)


def check_entry(entry: CheckpointEntry) -> None:
    """Raise MalformedError where what is said of a checkpoint can't be."""
    _BOUNDS.check(entry)
    if len(entry.name) > NAME_CHARACTERS_MAX:
        raise MalformedError("a checkpoint's name is too long")
    if type(entry.metrics) is not dict or len(entry.metrics) > METRICS_MAX:
        raise MalformedError("a checkpoint's metrics are no mapping of some names")
    if any(type(name) is not str or type(value) is not float for name, value in entry.metrics.items()):
        raise MalformedError("a metric is no float by name")
    check_restores(entry.restores)


def check_restores(text: str) -> None:
    """Raise MalformedError unless what a checkpoint restores is one by its id, or nothing."""
    if text and not _ID.fullmatch(text):
        raise MalformedError(f"it restores {text!r:.50}")


def _decoded(data: bytes, envelope: Envelope, kind: str, shape: Any) -> Any:
    if len(data) > BYTES_MAX:
        raise MalformedError(f"{len(data)} bytes are no {kind}")
    return envelope.open_plain(data, lambda plain: _from_plain(plain, shape))


def _as_plain(part: _Part) -> dict[str, Any]:
    plain = plain_of(part)
    for name, value in plain.items():
        if isinstance(value, tuple):
            plain[name] = [each if isinstance(each, bytes) else _as_plain(each) for each in value]
        elif isinstance(value, CheckpointEntry):
            plain[name] = _as_plain(value)
        elif name == "metrics":
            plain[name] = dict(value)
    if plain.get(OPTIONAL) == "":
        del plain[OPTIONAL]
    return plain


def _from_plain(plain: object, shape: Any) -> Any:
    names = {*names_of(shape)}
    if type(plain) is not dict or {*plain, *names & {OPTIONAL}} != names:
        raise MalformedError(f"the fields of a {shape.__name__} aren't there, or others are")
    values = dict(plain)
    for name, inner in _PARTS[shape].items():
        many = values[name]
        if type(many) is not list:
            raise MalformedError(f"{name} is {many!r:.50}")
        values[name] = tuple(many) if inner is None else tuple(_from_plain(each, inner) for each in many)
    if shape is TrashEntry:
        values["checkpoint"] = _from_plain(values["checkpoint"], CheckpointEntry)
    return shape(**values)


_PARTS: Final[dict[type, dict[str, Any]]] = {
    Head: {"ancestors": None, "checkpoints": CheckpointEntry, "pages": PageEntry, "trash": TrashEntry},
    Page: {"checkpoints": CheckpointEntry, "pages": PageEntry},
    CheckpointEntry: {}, PageEntry: {}, TrashEntry: {},
}  # fmt: skip

"""A store behind a symbolic link is the store: people move data to a larger disk and leave a link."""

from __future__ import annotations

from pathlib import Path

import journalkit


def test_a_link_to_a_store_opens_the_store(tmp_path: Path) -> None:
    """The directory that is locked and written is the one that the link names, whatever the spelling."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    with journalkit.open(tmp_path / "link" / "state") as store:
        store["a"] = 1
    (tmp_path / "state").symlink_to(tmp_path / "disk" / "state")
    with journalkit.open(tmp_path / "state") as store, journalkit.open(tmp_path / "disk" / "state", mode="r") as same:
        assert dict(store) == dict(same) == {"a": 1}
        assert store.uuid == same.uuid

"""Single keys of a live store, read at about the speed of a dict.

A value that is hot costs a look-up in a dict and, if it can be changed, a
copy. Any other is looked for in the layers, and made hot when it is asked for
again. Both say the same; `journalkit.store.hot` tells why.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from journalkit.compiled import speed
from journalkit.errors import JournalError
from journalkit.format.codec import Codec
from journalkit.format.keys import encode_key
from journalkit.store.hot import fresh
from journalkit.store.layers import Layers
from journalkit.store.reading import OrderedReads
from journalkit.types import ABSENT, UNSET, Absent, Key, Unset, Value


class PointReads(OrderedReads):
    """The half of a live store's reads that ask for one key."""

    _layers: Layers
    _refusal: JournalError | None

    def _begin_points(self, layers: Layers, codec: Codec) -> None:
        """Bind what every read needs. Before the first one."""
        self._layers = layers
        self._decode_value = codec.decode
        self._hot_str_keys = layers.hot.str_keys
        self._hot_byte_keys = layers.hot.byte_keys
        self._hot_int_keys = layers.hot.int_keys
        self._look_up_at_once: Callable[[Key], Value | Unset] = (
            _leave if speed is None else speed.Reads(layers, layers.hot, codec, layers.hot.keeps, ABSENT, UNSET).look_up
        )

    @abstractmethod
    def _require_open(self) -> None:
        """Raise `_refusal` if there is one."""

    def __getitem__(self, key: Key) -> Value:
        """Return a copy of the value.

        Raises:
            KeyError: There is no such key.
            CorruptionError: The block that would hold it is damaged.
        """
        # Hot: what most reads cost is in these lines; `_look_up` says the same of any key.
        if self._refusal is not None:
            self._require_open()
        kind = type(key)
        if kind is str:
            slot = self._hot_str_keys.get(key)
        elif kind is bytes:
            slot = self._hot_byte_keys.get(key)
        else:
            slot = self._hot_int_keys.get(key) if kind is int else None
        if slot is not None and (value := slot.value) is not None:
            slot.read_since = True
            inner = slot.inner
            if inner is None:
                return value
            return fresh(value, inner) if inner else value.copy()
        value = self._look_up_at_once(key)
        return self._look_up(key) if value is UNSET else value

    def __contains__(self, key: Any) -> bool:
        # Hot too: who asks so often asks for what isn't there, and that goes through all layers.
        if self._refusal is not None:
            self._require_open()
        encoded_key = encode_key(key)
        slot = self._hot_byte_keys.get(key) if type(key) is bytes else self._hot_str_keys.get(key)
        if slot is not None and slot.value is not None:
            slot.read_since = True
            return True
        layers = self._layers
        encoded = layers.active.entries.get(encoded_key, ABSENT)
        if encoded is ABSENT:
            encoded = layers.get_below(encoded_key)
        return encoded is not None and encoded is not ABSENT

    def _get_in_memory(self, key: Key) -> Value | Absent | Unset:
        """Return a copy of the value, ABSENT if there is none, and UNSET if only a table can tell."""
        slot = self._layers.hot.get(key)
        if slot is not None and (value := slot.value) is not None:
            slot.read_since = True
            return value if slot.inner is None else fresh(value, slot.inner)
        encoded = self._layers.get_in_memory(encode_key(key))
        if encoded is UNSET:
            return UNSET
        return ABSENT if encoded is None or encoded is ABSENT else self._values.value(key, encoded)

    def _encoded(self, encoded_key: bytes) -> bytes | Absent | None:
        self._require_open()
        return self._layers.get(encoded_key)

    def _look_up(self, key: Key) -> Value:
        """Return a copy of a key's value as the layers have it, and let it be hot from now on if it is worth it."""
        encoded_key = encode_key(key)
        layers = self._layers
        slot = layers.hot.attach(key)
        if slot is not None and layers.applying is not None:
            layers.hot.detach(slot)
            slot = None
        try:
            encoded = layers.active.entries.get(encoded_key, ABSENT)
            if encoded is ABSENT:
                encoded = layers.get_below(encoded_key)
            if encoded is None or encoded is ABSENT:
                raise KeyError(key)
            try:
                value = self._decode_value(encoded)
            except ValueError:
                value = self._values.value(key, encoded)  # raises, and names the key
        except BaseException:
            if slot is not None:
                layers.hot.detach(slot)
            raise
        if slot is not None:
            layers.hot.fill(slot, value)
        return value


def _leave(_key: Key) -> Unset:
    """Stand for the compiled way where there is none."""
    return UNSET

"""Opening a store for asyncio: what `journalkit.open_async` is."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Any, ParamSpec

from journalkit.runtime.place import caller, calling_from
from journalkit.store.aio.store import AsyncStore
from journalkit.store.open import open_store
from journalkit.store.store import Store

_P = ParamSpec("_P")


def _with_arguments_of(
    opener: Callable[_P, Store],
) -> Callable[[Callable[..., AsyncStore]], Callable[_P, AsyncStore]]:
    """Give a function the arguments of another: they are listed, and checked, once."""

    def decorate(function: Callable[..., AsyncStore]) -> Callable[_P, AsyncStore]:
        signature = inspect.signature(opener).replace(return_annotation="AsyncStore")
        function.__signature__ = signature  # type: ignore[attr-defined]  # what `inspect` and `help` look at
        return function

    return decorate


@_with_arguments_of(open_store)
def open_async(*arguments: Any, **options: Any) -> AsyncStore:
    """Return the store in a directory, to be opened by awaiting it or with `async with`.

    The arguments are those of `journalkit.open`. What that raises is raised
    when the store is opened, in the task that does so. It is opened in a
    thread; a cancellation takes effect when that is done, and leaves nothing open.

    The store belongs to the asyncio loop on which it was opened: another loop,
    another thread, or trio is refused with `UsageError`.
    """
    path = inspect.signature(open_store).bind(*arguments, **options).arguments["path"]
    context = calling_from(caller())
    name = os.fspath(path) if isinstance(path, os.PathLike) else path
    return AsyncStore(name, lambda: context.run(open_store, *arguments, **options))

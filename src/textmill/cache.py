"""The cache folder: unpacked assets and tokenized data, safe to delete at any time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs
from filelock import FileLock

from textmill.errors import MachineError


def cache_folder() -> Path:
    """The folder named by ``TEXTMILL_CACHE``, or the user's cache folder for Textmill."""
    return Path(os.environ.get("TEXTMILL_CACHE") or platformdirs.user_cache_dir("textmill"))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds other processes back that want to make the same folder of the cache.

    A process that dies lets go of its lock.

    Raises:
        MachineError: The folder's parent can't be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.parent / f".{folder.name}.lock")
        lock.acquire()
    except OSError as error:
        raise MachineError(
            f"the cache folder can't be written ({error.strerror})",
            where=str(folder.parent),
            hint="set TEXTMILL_CACHE to a folder that can",
        ) from error
    try:
        yield
    finally:
        lock.release()

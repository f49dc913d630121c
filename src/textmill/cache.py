"""The cache folder: assets, tokenized data, encoders from scratch; safe to delete at any time."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs
from filelock import FileLock

from textmill.errors import MachineError
from textmill.safe_write import replace_folder, write_text

# Lists a folder's files; the first such folders were assets.
_MANIFEST = ".textmill-asset.json"

_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """The folder named by ``TEXTMILL_CACHE``, or the user's cache folder for Textmill."""
    return Path(os.environ.get("TEXTMILL_CACHE") or platformdirs.user_cache_dir("textmill"))


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """A folder of the cache, made whole or not at all if it isn't there; read only.

    A folder whose files were changed since is made again. Several processes may ask at once: one
    makes it, the others wait.

    Args:
        folder: Where it is.
        make: Fills the empty folder that it is given.

    Returns:
        ``folder``.

    Raises:
        MachineError: The cache can't be written.
    """
    if _is_whole(folder):
        return folder
    with locked(folder):
        if not _is_whole(folder):
            if folder.exists():
                _log.warning("the cached folder %s is damaged: making it again", folder)
            with replace_folder(folder) as fresh:
                make(fresh)
                _write_manifest(fresh)
    return folder


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


def _write_manifest(folder: Path) -> None:
    """Notes what each file is, so that damage is noticed later."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    noted = {
        path.relative_to(folder).as_posix(): {
            "size": path.stat().st_size,
            "modified_ns": path.stat().st_mtime_ns,
            "sha256": _sha256(path),
        }
        for path in files
    }
    write_text(folder / _MANIFEST, json.dumps(noted, indent=1))


def _is_whole(folder: Path) -> bool:
    """Whether a folder holds what its manifest says; contents are read only if touched since."""
    try:
        noted = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        return all(_is_unchanged(folder / name, entry) for name, entry in noted.items())
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return False


def _is_unchanged(path: Path, entry: dict[str, object]) -> bool:
    found = path.stat()
    if found.st_size != entry["size"]:
        return False
    return found.st_mtime_ns == entry["modified_ns"] or _sha256(path) == entry["sha256"]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

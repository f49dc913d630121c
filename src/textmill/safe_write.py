"""Writing that is never seen half done: beside the place first, then one rename."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from textmill.errors import MachineError, TextmillError

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Gives a temporary path in the same folder; on success it takes the place of ``path``.

    Raises:
        MachineError: The disk is full, or the folder can't be written.
    """
    with machine_faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(descriptor)
        temporary = Path(name)
        temporary.chmod(0o666 & ~_umask())
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Gives an empty folder beside ``path``; on success it takes the place of ``path``.

    When another process has put a folder at ``path`` in the meantime, it is replaced.

    Raises:
        MachineError: The disk is full, or the folder can't be written.
    """
    with machine_faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        temporary.chmod(0o777 & ~_umask())
        replaced = temporary.with_name(f"{temporary.name}.replaced")
        try:
            yield temporary
            if path.is_dir():
                # Moved aside before it is removed: there is never half a folder at the path.
                path.rename(replaced)
            temporary.rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(replaced, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Writes ``text`` to ``path`` as UTF-8, whole or not at all."""
    with replace_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def machine_faults(path: Path) -> Iterator[None]:
    """Turns the operating system's refusals to write into a `MachineError`."""
    try:
        yield
    except TextmillError:
        raise
    except Exception as error:
        if _says_full(error):
            raise MachineError(
                "the disk is full", where=str(path), hint="free some space"
            ) from error
        if not isinstance(error, OSError):
            raise
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise MachineError(
                "the folder can't be written", where=str(path.parent), hint="choose another folder"
            ) from error
        if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG):
            raise MachineError(
                f"the path can't be written ({error.strerror})",
                where=str(path),
                hint="choose another path",
            ) from error
        raise


def _says_full(error: BaseException | None) -> bool:
    """Whether the disk was full; libraries wrap the system's error, those in Rust quote it."""
    quotes = tuple(f"(os error {number})" for number in FULL)
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        if any(quote in str(error) for quote in quotes):
            return True
        error = error.__cause__ or error.__context__
    return False


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

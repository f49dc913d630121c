"""Writing that is never seen half done: beside the place first, then one rename."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from textmill.errors import MachineError


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
        try:
            yield temporary
            if path.exists():
                shutil.rmtree(path)
            temporary.replace(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Writes ``text`` to ``path`` as UTF-8, whole or not at all."""
    with replace_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def machine_faults(path: Path) -> Iterator[None]:
    """Turns the operating system's refusals to write into a `MachineError`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MachineError(
                "the disk is full", where=str(path), hint="free some space"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise MachineError(
                "the folder can't be written", where=str(path.parent), hint="choose another folder"
            ) from error
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

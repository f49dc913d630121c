"""The file that a search is kept in, one line for each thing that happened."""

from __future__ import annotations

import os
from pathlib import Path

from filelock import FileLock
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

_BLOCK = 4096


def journal(path: Path) -> JournalStorage:
    """Optuna's journal in a file, made if it isn't there.

    It survives that its writer is killed, also in the middle of a line.
    """
    return JournalStorage(JournalFileBackend(str(path), _Lock(path)))


class _Lock(JournalFileOpenLock):
    """The operating system's lock, which ends with the process that holds it.

    Whoever gets it takes away half a line that was left by the one before.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        self._lock = FileLock(path.with_name(f".{path.name}.lock"))

    def acquire(self) -> bool:
        self._lock.acquire()
        _mend(self._path)
        return True

    def release(self) -> None:
        self._lock.release()


def _mend(path: Path) -> None:
    """Cuts a file behind its last whole line."""
    with path.open("r+b") as file:
        end = size = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - _BLOCK)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            file.truncate(end)

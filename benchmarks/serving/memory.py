"""The memory of a service's processes, as Linux tells it."""

from __future__ import annotations

import contextlib
from pathlib import Path

_PROCESSES = Path("/proc")


def memory_of(process: int) -> int:
    """Bytes of a process and all that came from it that are not mapped from files."""
    total, to_see = 0, [process]
    while to_see:
        number = to_see.pop()
        with contextlib.suppress(OSError):  # It has just ended.
            total += _own(number)
            to_see += _children(number)
    return total


def _own(process: int) -> int:
    lines = (_PROCESSES / str(process) / "status").read_text("ascii").splitlines()
    kibibytes = next((line.split()[1] for line in lines if line.startswith("RssAnon:")), "0")
    return 1024 * int(kibibytes)


def _children(process: int) -> list[int]:
    threads = (_PROCESSES / str(process) / "task").iterdir()
    return [int(child) for one in threads for child in (one / "children").read_text().split()]

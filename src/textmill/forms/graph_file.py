"""What the programs that compute a graph's file have in common."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from textmill.errors import InputError
from textmill.installed import require_installed

_ANEW = "make it anew: textmill export BUNDLE"


def check_usable(path: Path, package: str, *, extra: str) -> None:
    """Makes sure that a graph's file is there, and the package that computes it.

    Args:
        path: The file.
        package: The package; it is not imported.
        extra: The extra of Textmill that brings it.

    Raises:
        InputError: One of them isn't.
    """
    require_installed(
        [package], f"textmill[{extra}]", where=str(path), otherwise="choose --form torch"
    )
    if not path.is_file():
        raise InputError("the file is missing", where=str(path), hint=_ANEW)


@contextmanager
def explained(program: str, path: Path) -> Iterator[None]:
    """Tells in one line that a program can't use a graph's file.

    Raises:
        InputError: It can't.
    """
    try:
        yield
    except Exception as error:  # their own classes have no base of their own
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"{program} can't use the file ({reason:.200})", where=str(path), hint=_ANEW
        ) from error


def threads() -> int:
    """The threads that a model may use: as ``OMP_NUM_THREADS`` says, or one on each core."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

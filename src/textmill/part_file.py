"""An output that grows beside its place, and can be continued when it broke off.

What is finished is in ``OUTPUT.part``. Beside it ``OUTPUT.part.json`` has a line that says what the
output is made from and how, and then a line for each point up to which the part is whole. Both only
grow at their ends, so that at any moment, even after ``kill -9``, the last whole line of the record
for which the part is long enough says where to go on.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from textmill.errors import InputError

Settings = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an output is.

    Args:
        rows: The rows of the input that are dealt with.
        missing: How many of these had no text.
        size: The bytes of the part that they take.
    """

    rows: int
    missing: int
    size: int


class PartFile:
    """The part of an output that is finished; a context, in which nobody else may write it.

    Args:
        output: Where the finished output is to be.
        settings: What the output is made from and how; JSON values.
        head: What the output begins with.

    Raises:
        InputError: Another process is writing this output.
    """

    def __init__(self, output: Path, settings: Settings, head: bytes) -> None:
        self.path, self._record = part_paths(output)
        self._settings = settings
        self._head = head
        self._file: BinaryIO = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise InputError(
                "another process is writing this output",
                where=str(output),
                hint="wait for it, or name another output",
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def start(self) -> Progress:
        """Begins anew; what was there is gone."""
        self._file.truncate(0)
        self._record.write_text(f"{json.dumps(self._settings)}\n", encoding="utf-8")
        return self.append(self._head, Progress(0, 0, 0))

    def resume(self) -> Progress:
        """Goes back to the last point up to which the part is whole, or begins anew without one.

        Raises:
            InputError: The part was made from something else, or in another way.
        """
        settings, points = _read_record(self._record)
        if settings is None:
            return self.start()
        changed = [key for key, value in self._settings.items() if settings.get(key) != value]
        if changed:
            raise InputError(
                f"the output that broke off was made with another {', another '.join(changed)}",
                where=str(self.path),
                hint="give the same as then, or start anew with --force instead of --resume",
            )
        length = self.path.stat().st_size
        whole = [point for point in points if point.size <= length]
        return self._go_on_at(whole) if whole else self.start()

    def append(self, content: bytes, before: Progress, rows: int = 0, missing: int = 0) -> Progress:
        """Adds what some more rows have become; returns how far the output is then."""
        self._file.seek(before.size)
        self._file.write(content)
        self._file.flush()
        after = Progress(before.rows + rows, before.missing + missing, before.size + len(content))
        with self._record.open("a", encoding="utf-8") as record:
            record.write(f"{json.dumps(asdict(after))}\n")
        return after

    def drop(self) -> None:
        """Gives the part up."""
        self.path.unlink(missing_ok=True)
        self._record.unlink(missing_ok=True)

    def close_record(self) -> None:
        """Removes the record, once the part has become the output."""
        self._record.unlink(missing_ok=True)

    def _go_on_at(self, points: list[Progress]) -> Progress:
        """Cuts off what is behind the last of some points, in the part and in its record."""
        self._file.truncate(points[-1].size)
        lines = [self._settings, *map(asdict, points)]
        self._record.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
        return points[-1]


def part_paths(output: Path) -> tuple[Path, Path]:
    """The part of an output, and its record."""
    return output.with_name(f"{output.name}.part"), output.with_name(f"{output.name}.part.json")


def _read_record(path: Path) -> tuple[Settings | None, list[Progress]]:
    """The settings, and the points up to which the part was whole; only whole lines count."""
    try:
        *lines, _ = path.read_text(encoding="utf-8").split("\n")
        settings, *points = map(json.loads, lines)
        return dict(settings), [Progress(**point) for point in points]
    except (FileNotFoundError, ValueError, TypeError):
        return None, []

"""What was predicted, in parquet files that later monitoring reads.

A thread writes what has been predicted since it last looked to the end of a stream of Arrow
batches, ``DAY/NAME.arrows``, and turns that into ``DAY/NAME.parquet`` when there is enough of it.
So a parquet file is always whole, and a crash costs what was predicted in the last second; the
stream that it leaves behind becomes a parquet file at the next start.
"""

from __future__ import annotations

import fcntl
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from textmill.prediction_formats import TEXT_KEYS
from textmill.predictor import Prediction
from textmill.safe_write import replace_file
from textmill.serving.logs import tell, tell_error
from textmill.serving.served import Served, Text

STREAM, TABLE = ".arrows", ".parquet"

# What may wait to be written; what is predicted beyond that is not logged.
MOST_WAITING = 50_000
# Files are finished with so many rows, or when they are so old.
MOST_ROWS = 100_000
MOST_SECONDS = 600.0
_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How predictions are logged.

    Args:
        folder: The folder of the files.
        texts: Whether the texts are in them.
        megabytes: What the files may take together; past it the oldest are removed.
    """

    folder: Path
    texts: bool
    megabytes: int


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """A request's predictions.

    Args:
        time: When they were answered.
        seconds: How long that took, from the request to its predictions.
        served: What predicted them.
        texts: The texts.
        predictions: Their predictions.
    """

    time: datetime
    seconds: float
    served: Served
    texts: Sequence[Text]
    predictions: Sequence[Prediction]


class PredictionLog:
    """Logs predictions in the background; never holds up who predicts.

    Args:
        settings: Where, and what.
        lost: Told how many predictions could not be logged, when that happens.
    """

    def __init__(self, settings: LogSettings, lost: Callable[[int], None]) -> None:
        self._settings, self._lost = settings, lost
        self._waiting: deque[Answered] = deque()
        self._count = 0
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._file: _File | None = None
        self._thread = threading.Thread(target=self._run, name="prediction log", daemon=True)
        self._thread.start()

    def add(self, answered: Answered) -> None:
        """Has predictions logged soon."""
        with self._lock:
            full = self._count + len(answered.predictions) > MOST_WAITING
            if not full:
                self._waiting.append(answered)
                self._count += len(answered.predictions)
        if full:
            self._lost(len(answered.predictions))

    def close(self) -> None:
        """Writes what waits, and finishes the file."""
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        self._do(lambda: finish_left_behind(self._settings.folder))
        ended = False
        while not ended:
            ended = self._end.wait(_PAUSE_SECONDS)
            self._do(self._write)
            if ended or (self._file is not None and self._file.is_due()):
                self._do(self._rotate)

    def _do(self, step: Callable[[], None]) -> None:
        """Whatever the disk does, the service goes on."""
        try:
            step()
        except Exception as error:  # noqa: BLE001 - logged; the next step is tried all the same
            tell_error("predictions not logged", error, folder=str(self._settings.folder))

    def _write(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, deque()
            written, self._count = self._count, 0
        try:
            while waiting:
                served = waiting[0].served
                if self._file is not None and self._file.served is not served:
                    self._rotate()
                if self._file is None:
                    self._file = _File(self._settings, served)
                of_one = [one for one in waiting if one.served is served]
                waiting = deque(one for one in waiting if one.served is not served)
                self._file.append(of_one)
                written -= sum(len(one.predictions) for one in of_one)
        except Exception:
            self._lost(written)
            self._rotate()
            raise

    def _rotate(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.finish()
            remove_oldest(self._settings.folder, self._settings.megabytes * 2**20)


class _File:
    """A file that grows, of the predictions of one bundle."""

    def __init__(self, settings: LogSettings, served: Served) -> None:
        self.served = served
        self._settings = settings
        self._schema = _schema(served, texts=settings.texts)
        self._began, self._rows = time.monotonic(), 0
        day = settings.folder / f"{datetime.now(UTC):%Y-%m-%d}"
        day.mkdir(parents=True, exist_ok=True)
        self._path = day / f"{datetime.now(UTC):%H-%M-%S}-{secrets.token_hex(4)}{STREAM}"
        self._sink = self._path.open("xb")
        fcntl.flock(self._sink, fcntl.LOCK_EX)
        self._stream = pa.ipc.new_stream(self._sink, self._schema)

    def is_due(self) -> bool:
        """Whether there is enough of it."""
        return self._rows >= MOST_ROWS or time.monotonic() - self._began > MOST_SECONDS

    def append(self, answered: Sequence[Answered]) -> None:
        """Adds predictions; a crash from now on doesn't lose them."""
        rows = [row for one in answered for row in _rows(one, texts=self._settings.texts)]
        self._stream.write_batch(pa.RecordBatch.from_pylist(rows, schema=self._schema))
        self._sink.flush()
        self._rows += len(rows)

    def finish(self) -> None:
        """Turns it into a parquet file."""
        try:
            self._sink.flush()
            finish(self._path)
        finally:
            self._sink.close()


def finish(stream: Path) -> None:
    """Turns a stream into the parquet file beside it, as far as the stream goes."""
    with stream.open("rb") as source:
        try:
            reader = pa.ipc.open_stream(source)
        except pa.ArrowInvalid:  # The schema had not been written yet.
            stream.unlink()
            return
        with (
            replace_file(stream.with_suffix(TABLE)) as temporary,
            pq.ParquetWriter(temporary, reader.schema, compression="zstd") as writer,
        ):
            for batch in _whole_batches(reader):
                writer.write_batch(batch)
    stream.unlink()


def finish_left_behind(folder: Path) -> None:
    """Finishes the streams whose writers are no more."""
    for stream in sorted(folder.glob(f"*/*{STREAM}")):
        with stream.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue  # Another worker writes it.
            # It may have been finished between our seeing and locking it.
            if stream.exists():
                finish(stream)
                tell("prediction log recovered", file=str(stream.with_suffix(TABLE)))


def remove_oldest(folder: Path, most: int) -> None:
    """Removes the oldest parquet files until the rest takes at most so many bytes."""
    files = sorted(folder.glob(f"*/*{TABLE}"))
    sizes = {path: _size(path) for path in files}
    excess = sum(sizes.values()) - most
    for path in files:
        if excess <= 0:
            return
        path.unlink(missing_ok=True)
        excess -= sizes[path]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # Another worker has removed it.
        return 0


def _whole_batches(reader: pa.RecordBatchReader) -> Any:  # noqa: ANN401 - pyarrow has no types
    while True:
        try:
            yield reader.read_next_batch()
        except (StopIteration, pa.ArrowInvalid, OSError):
            return  # A stream that broke off ends in half a batch.


def _schema(served: Served, *, texts: bool) -> pa.Schema:
    predictor = served.predictor
    label = pa.list_(pa.string()) if predictor.labels.multi_label else pa.string()
    shown = TEXT_KEYS[: len(predictor.text_columns)] if texts else ()
    return pa.schema(
        [
            ("time", pa.timestamp("us", tz="UTC")),
            ("bundle", pa.string()),
            ("prediction", label),
            ("score", pa.float32()),
            *((f"probability/{name}", pa.float32()) for name in predictor.labels.names),
            ("characters", pa.int32()),
            ("seconds", pa.float32()),
            *((key, pa.string()) for key in shown),
        ]
    )


def _rows(answered: Answered, *, texts: bool) -> list[dict[str, Any]]:
    rows = []
    for text, prediction in zip(answered.texts, answered.predictions, strict=True):
        sides = (text,) if isinstance(text, str) else text
        rows.append(
            {
                "time": answered.time,
                "bundle": answered.served.fingerprint,
                "prediction": prediction.label,
                "score": prediction.score,
                **{f"probability/{name}": one for name, one in prediction.scores.items()},
                "characters": sum(map(len, sides)),
                "seconds": answered.seconds,
                **(dict(zip(TEXT_KEYS, sides, strict=False)) if texts else {}),
            }
        )
    return rows

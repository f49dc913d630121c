"""How predictions are written: JSON lines, csv, tsv or parquet.

Each format turns windows of predictions into bytes that can be appended one after the other, so
that a file that broke off can be continued behind any window.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pyarrow
import pyarrow.parquet

from textmill.errors import InputError

if TYPE_CHECKING:
    from textmill.labels import Labels
    from textmill.predictor import Prediction

Text = str | Sequence[str]
Record = Mapping[str, object]

TEXT_KEYS = ("text", "text_pair")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is written of each prediction, beside its label and score.

    Args:
        scores: The probabilities of all labels.
        text: The text, or both texts of a pair.
    """

    scores: bool
    text: bool


class OutputFormat(Protocol):
    """Turns predictions into bytes to append, and the finished bytes into a file."""

    def head(self) -> bytes:
        """What the file begins with."""
        ...

    def window(self, records: Sequence[Record]) -> bytes:
        """Some predictions, ready to be appended."""
        ...

    def finish(self, part: Path, output: Path) -> None:
        """Puts the file that was written to ``part`` at ``output``, in one step."""
        ...


def record(prediction: Prediction | None, text: Text | None, wanted: Wanted) -> Record:
    """What is told of one text; of a missing text only that there is nothing.

    Scores have six significant digits: more depend on which texts were scored together.
    """
    entry: dict[str, object] = {"label": None, "score": None}
    if prediction is not None:
        entry = {"label": prediction.label, "score": rounded(prediction.score)}
    if wanted.scores:
        scores = None if prediction is None else prediction.scores
        entry["scores"] = scores and {name: rounded(score) for name, score in scores.items()}
    if wanted.text:
        sides = (text,) if text is None or isinstance(text, str) else text
        entry.update(zip(TEXT_KEYS, sides, strict=False))
    return entry


def rounded(score: float) -> float:
    """A score with six significant digits."""
    return float(f"{score:.6g}")


def json_line(entry: Record) -> str:
    """One prediction as a line of JSON, with its line end."""
    return json.dumps(entry, ensure_ascii=False) + "\n"


def output_format(output: Path, labels: Labels, texts: int, wanted: Wanted) -> OutputFormat:
    """The format that a file's name asks for.

    Args:
        output: The file; ``.gz`` behind the ending of a text format compresses it.
        labels: The labels that are predicted.
        texts: How many texts are classified together: 1, or 2 for pairs.
        wanted: What is written of each prediction.

    Raises:
        InputError: The name has no known ending.
    """
    ending = output_ending(output)
    columns = _Columns(labels, texts, wanted)
    if ending == ".parquet":
        return ParquetOutput(columns)
    if ending.startswith(".jsonl"):
        plain: OutputFormat = JsonLinesOutput()
    else:
        plain = DelimitedOutput("\t" if ending.startswith(".tsv") else ",", columns)
    return GzipOutput(plain) if ending.endswith(".gz") else plain


def output_ending(output: Path) -> str:
    """The ending of an output's name, such as ``.csv`` or ``.csv.gz``.

    Raises:
        InputError: It is not one of a format that predictions can be written in.
    """
    name = output.name.lower()
    for ending in (".csv", ".tsv", ".jsonl", ".csv.gz", ".tsv.gz", ".jsonl.gz", ".parquet"):
        if name.endswith(ending):
            return ending
    raise InputError(
        "the ending of the output's name doesn't say its format",
        where=str(output),
        hint="let it end in .csv, .tsv, .jsonl or .parquet (or .gz behind one of the first three)",
    )


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of a table of predictions."""

    labels: Labels
    texts: int
    wanted: Wanted

    def names(self) -> list[str]:
        scores = [f"score_{name}" for name in self.labels.names] if self.wanted.scores else []
        return ["label", "score", *scores, *self.text_names()]

    def text_names(self) -> tuple[str, ...]:
        return TEXT_KEYS[: self.texts] if self.wanted.text else ()

    def cells(self, entry: Record) -> list[object]:
        cells = [entry["label"], entry["score"]]
        if self.wanted.scores:
            scores = entry["scores"]
            cells += scores.values() if isinstance(scores, dict) else [None] * len(self.labels)
        return [*cells, *(entry.get(name) for name in self.text_names())]

    def schema(self) -> pyarrow.Schema:
        label = pyarrow.list_(pyarrow.string()) if self.labels.multi_label else pyarrow.string()
        kinds = {"label": label, **dict.fromkeys(self.text_names(), pyarrow.string())}
        return pyarrow.schema([(name, kinds.get(name, pyarrow.float64())) for name in self.names()])


@dataclass(frozen=True, slots=True)
class JsonLinesOutput:
    """One JSON object a line."""

    def head(self) -> bytes:
        """Nothing."""
        return b""

    def window(self, records: Sequence[Record]) -> bytes:
        """A line for each prediction."""
        return "".join(map(json_line, records)).encode()

    def finish(self, part: Path, output: Path) -> None:
        """The part is the file."""
        part.replace(output)


@dataclass(frozen=True, slots=True)
class DelimitedOutput:
    """csv or tsv with a header; several labels stand in their cell as a JSON list.

    Args:
        delimiter: What separates the cells.
        columns: The table's columns.
    """

    delimiter: str
    columns: _Columns

    def head(self) -> bytes:
        """The names of the columns."""
        return self._lines([self.columns.names()])

    def window(self, records: Sequence[Record]) -> bytes:
        """A row for each prediction."""
        return self._lines(map(self._cells, records))

    def finish(self, part: Path, output: Path) -> None:
        """The part is the file."""
        part.replace(output)

    def _cells(self, entry: Record) -> list[object]:
        cells = self.columns.cells(entry)
        if isinstance(cells[0], list):
            cells[0] = json.dumps(cells[0], ensure_ascii=False)
        return cells

    def _lines(self, rows: Iterator[list[object]] | list[list[str]]) -> bytes:
        lines = io.StringIO(newline="")
        csv.writer(lines, delimiter=self.delimiter, lineterminator="\n").writerows(rows)
        return lines.getvalue().encode()


@dataclass(frozen=True, slots=True)
class ParquetOutput:
    """A parquet file, written while it grows as a stream of Arrow batches, which can break off.

    Args:
        columns: The table's columns.
    """

    columns: _Columns

    def head(self) -> bytes:
        """The stream's schema."""
        return self.columns.schema().serialize().to_pybytes()  # type: ignore[no-any-return]

    def window(self, records: Sequence[Record]) -> bytes:
        """A batch of the stream."""
        names = self.columns.names()
        rows = [dict(zip(names, self.columns.cells(entry), strict=True)) for entry in records]
        batch = pyarrow.RecordBatch.from_pylist(rows, schema=self.columns.schema())
        return batch.serialize().to_pybytes()  # type: ignore[no-any-return]

    def finish(self, part: Path, output: Path) -> None:
        """Turns the stream into a parquet file with one row group for each window."""
        converted = part.with_name(f"{part.name}.parquet")
        try:
            with (
                pyarrow.ipc.open_stream(part) as stream,
                pyarrow.parquet.ParquetWriter(converted, stream.schema) as writer,
            ):
                for batch in stream:
                    writer.write_batch(batch)
            converted.replace(output)
        finally:
            converted.unlink(missing_ok=True)
        part.unlink()


@dataclass(frozen=True, slots=True)
class GzipOutput:
    """A text format, compressed window by window; together these are one gzip file.

    Args:
        plain: The format inside.
    """

    plain: OutputFormat

    def head(self) -> bytes:
        """What the format begins with, compressed."""
        return _compressed(self.plain.head())

    def window(self, records: Sequence[Record]) -> bytes:
        """Some predictions, compressed."""
        return _compressed(self.plain.window(records))

    def finish(self, part: Path, output: Path) -> None:
        """As the format inside does it."""
        self.plain.finish(part, output)


def _compressed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)

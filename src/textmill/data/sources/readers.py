"""Reading one file of a known format: its columns, and its rows as a stream."""

from __future__ import annotations

import csv
import json
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Literal, Protocol, TextIO

import pyarrow
import pyarrow.parquet

from textmill.data.rows import Row, UnreadableRow
from textmill.data.sources.decoding import excerpt, has_surrogates, open_text, refuse_binary
from textmill.errors import InputError

Format = Literal["csv", "tsv", "jsonl", "parquet"]

_LARGEST_CELL = 16 * 2**20  # characters; what goes on for longer is an unclosed quote
_BATCH = 1024  # rows of a parquet file in memory at a time
_JSON_PEEK = 1000  # lines that a JSON lines file's columns are taken from
_PLAIN_QUOTES = "set data.quoting=false if its quotes are plain characters"


class FileReader(Protocol):
    """Reads files of one format."""

    def columns(self, path: Path) -> tuple[str, ...]:
        """The file's columns.

        Raises:
            InputError: The file is empty, or not what its name or the settings say.
        """
        ...

    def rows(self, path: Path, name: str) -> Iterator[Row | UnreadableRow]:
        """The file's rows; ``name`` stands for the file in their places.

        Raises:
            InputError: The file is broken where the reading has come to.
        """
        ...


@dataclass(frozen=True, slots=True)
class DelimitedReader:
    """Reads csv, tsv and the like.

    Args:
        delimiter: The character between cells.
        encoding: The text's encoding.
        quoting: Whether double quotes enclose cells.
        header: Whether the first line names the columns.
        skip_after_header: How many more lines to pass over before the first row.
    """

    delimiter: str
    encoding: str
    quoting: bool
    header: bool
    skip_after_header: int

    def columns(self, path: Path) -> tuple[str, ...]:
        """The header's names, without spaces around them, or numbers from 0.

        A nameless first column, as pandas writes its index, is called ``0``.
        """
        with readable(path):
            refuse_binary(path, self.encoding)
            with open_text(path, self.encoding) as text:
                return self._columns_and_rest(text, path)[0]

    def rows(self, path: Path, name: str) -> Iterator[Row | UnreadableRow]:
        """The rows; texts such as ``NA`` stay texts.

        Blank lines are passed over, and so are lines of several cells that are all blank.
        """
        with readable(path), open_text(path, self.encoding) as text:
            columns, records = self._columns_and_rest(text, path)
            width = len(columns)
            for line, cells in records:
                if isinstance(cells, csv.Error):
                    yield UnreadableRow(f"{name}:{line}", "malformed", f"{cells}; {_PLAIN_QUOTES}")
                elif len(cells) != width:
                    if len(cells) > 1 or cells[0].strip():
                        yield self._wrong_width(f"{name}:{line}", cells, width)
                else:
                    joined = "".join(cells)
                    if "\0" in joined or (not joined.isascii() and has_surrogates(joined)):
                        shown = excerpt(self.delimiter.join(cells))
                        yield UnreadableRow(f"{name}:{line}", "undecodable", shown)
                    elif width == 1 or not (joined == "" or joined.isspace()):
                        # The widths agree; `strict` would cost time on every row.
                        values = dict(zip(columns, cells))  # noqa: B905
                        yield Row(f"{name}:{line}", values)

    def _wrong_width(self, place: str, cells: Sequence[str], width: int) -> UnreadableRow:
        shown = excerpt(self.delimiter.join(cells))
        return UnreadableRow(
            place, "wrong_width", f"{len(cells)} cells instead of {width}: {shown}"
        )

    def _columns_and_rest(
        self, text: TextIO, path: Path
    ) -> tuple[tuple[str, ...], Iterator[tuple[int, list[str] | csv.Error]]]:
        records = self._records(text, path)
        line, first = next(records, (0, []))
        if isinstance(first, csv.Error):
            raise InputError(f"the first line is {first}", where=str(path), hint=_PLAIN_QUOTES)
        if not first:
            raise InputError("the file has only blank lines", where=str(path))
        if self.header:
            return _checked_names(first, path), islice(records, self.skip_after_header, None)
        rest = islice(chain([(line, first)], records), self.skip_after_header, None)
        return tuple(map(str, range(len(first)))), rest

    def _records(self, text: TextIO, path: Path) -> Iterator[tuple[int, list[str] | csv.Error]]:
        """Each record with the line that it starts on, or what is wrong with it."""
        csv.field_size_limit(_LARGEST_CELL)
        reader = csv.reader(
            text,
            delimiter=self.delimiter,
            quoting=csv.QUOTE_MINIMAL if self.quoting else csv.QUOTE_NONE,
            strict=True,
        )
        line = 1
        while True:
            try:
                for cells in reader:
                    if cells:
                        yield line, cells
                    line = reader.line_num + 1
                return
            except csv.Error as error:
                if "field limit" in str(error):
                    where = f"{path}:{line}"
                    what = "a quote that starts here is never closed"
                    raise InputError(what, where=where, hint=_PLAIN_QUOTES) from error
                yield line, error
                line = reader.line_num + 1


@dataclass(frozen=True, slots=True)
class JsonLinesReader:
    """Reads files with one JSON object a line.

    Args:
        encoding: The text's encoding.
    """

    encoding: str

    def columns(self, path: Path) -> tuple[str, ...]:
        """All keys of the first thousand objects, in the order in which they appear."""
        with readable(path):
            refuse_binary(path, self.encoding)
            with open_text(path, self.encoding) as text:
                return self._keys(islice(text, _JSON_PEEK), path)

    def rows(self, path: Path, name: str) -> Iterator[Row | UnreadableRow]:
        """The objects; blank lines are passed over."""
        with readable(path), open_text(path, self.encoding) as text:
            for number, line in enumerate(text, start=1):
                if not line.isspace():
                    yield _json_row(line, f"{name}:{number}")

    def _keys(self, lines: Iterator[str], path: Path) -> tuple[str, ...]:
        first = next((line for line in lines if not line.isspace()), None)
        if first is None:
            raise InputError("the file has only blank lines", where=str(path))
        if first.lstrip().startswith("["):
            raise InputError(
                "this is a JSON array, not one JSON object a line",
                where=str(path),
                hint="write each of its elements on a line of its own",
            )
        found = (_json_row(line, "") for line in chain([first], lines) if not line.isspace())
        rows = [row for row in found if isinstance(row, Row)]
        if not rows:
            raise InputError(
                "no line is a JSON object",
                where=str(path),
                hint="write one JSON object a line, or set data.format or data.encoding",
            )
        return tuple(dict.fromkeys(key for row in rows for key in row.values))


class ParquetReader:
    """Reads parquet files, a batch of rows at a time."""

    def columns(self, path: Path) -> tuple[str, ...]:
        """The names in the schema."""
        with readable(path):
            return _checked_names(pyarrow.parquet.read_schema(path).names, path)

    def rows(self, path: Path, name: str) -> Iterator[Row | UnreadableRow]:
        """The rows, lists in them kept as lists."""
        with readable(path), pyarrow.parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=_BATCH):
                for values in _batch_values(batch):
                    number += 1
                    place = f"{name} row {number}"
                    if isinstance(values, UnicodeDecodeError):
                        yield UnreadableRow(place, "undecodable", str(values))
                    else:
                        yield Row(place, values)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns what can be wrong with a file into an `InputError` that names it."""
    try:
        yield
    except PermissionError as error:
        hint = "change its permissions"
        raise InputError("the file may not be read", where=str(path), hint=hint) from error
    except (EOFError, zlib.error, OSError) as error:
        if path.suffix == ".gz":
            raise InputError(
                f"the gzip file is damaged ({error})", where=str(path), hint="get it again"
            ) from error
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            raise InputError(f"the file can't be read ({reason})", where=str(path)) from error
        raise
    except pyarrow.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"the parquet file is damaged ({reason})", where=str(path), hint="write it again"
        ) from error
    except UnicodeError as error:
        raise InputError(
            f"the file can't be decoded ({error})", where=str(path), hint="set data.encoding"
        ) from error


def _checked_names(cells: Sequence[str], path: Path) -> tuple[str, ...]:
    """Column names as they can be used: each once, none empty, in the file's encoding."""
    names = [name.strip() for name in cells]
    if not names[0]:
        names[0] = "0"
    problems = [f"{name!r} twice" for name, count in Counter(names).items() if count > 1 and name]
    if "" in names:
        problems.append(f"no name for column {names.index('')}")
    if problems:
        raise InputError(
            f"the header has {' and '.join(problems)}",
            where=str(path),
            hint="name each column once, or set data.header=false and use numbers",
        )
    if has_surrogates("".join(names)):
        shown = excerpt(", ".join(names))
        what = f"the header can't be decoded, {shown}"
        raise InputError(what, where=str(path), hint="set data.encoding")
    return tuple(names)


def _json_row(line: str, place: str) -> Row | UnreadableRow:
    if "\0" in line or has_surrogates(line):
        return UnreadableRow(place, "undecodable", excerpt(line.strip()))
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        return UnreadableRow(place, "malformed", f"{error}: {excerpt(line.strip())}")
    if not isinstance(values, dict):
        return UnreadableRow(place, "malformed", f"not a JSON object: {excerpt(line.strip())}")
    # An escape such as \ud800 alone is valid JSON and no text.
    if "\\u" in line and has_surrogates(json.dumps(values, ensure_ascii=False)):
        return UnreadableRow(place, "undecodable", excerpt(line.strip()))
    return Row(place, values)


def _batch_values(
    batch: pyarrow.RecordBatch,
) -> Sequence[dict[str, object] | UnicodeDecodeError]:
    """The rows of a batch; only where one is undecodable are they read one by one."""
    try:
        return batch.to_pylist()  # type: ignore[no-any-return]
    except UnicodeDecodeError:
        values: list[dict[str, object] | UnicodeDecodeError] = []
        for number in range(batch.num_rows):
            try:
                values.extend(batch.slice(number, 1).to_pylist())
            except UnicodeDecodeError as error:
                values.append(error)
        return values

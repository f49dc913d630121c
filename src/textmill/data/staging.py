"""Source rows, checked one by one and laid down in an Arrow file, and splits written from it.

Texts stay on disk; only a digest and a label code a row are held in memory.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from textmill.data.checks import Findings, Kind
from textmill.data.columns import FoundColumns
from textmill.data.duplicates import (
    DIGEST_BYTES,
    NO_GROUP,
    Codes,
    Digests,
    Mask,
    digest_array,
    text_digest,
)
from textmill.data.label_rules import LabelError, LabelReader
from textmill.data.rows import Row, UnreadableRow
from textmill.labels import Labels

_ROWS_IN_BATCH = 4_096


@dataclass(slots=True)
class StagedSplit:
    """A source's split after the checks of its single rows.

    Args:
        split: ``train``, ``validation`` or ``test``, as the source has it.
        file: Arrow stream with the columns ``text``, ``text_pair`` (for pairs), ``place`` and the
            slices.
        texts: ``[rows]``, digests of the texts.
        codes: ``[rows]``, codes of the sets of labels (`LabelReader.sets`).
        groups: ``[rows]``, digests of the groups, if there is a group column.
        kept: ``[rows]``, whether the row is still wanted.
    """

    split: str
    file: Path
    texts: Digests
    codes: Codes
    groups: Digests | None
    kept: Mask

    def example(self, row: int) -> tuple[str, str]:
        """The place and the text of a row."""
        with pa.memory_map(str(self.file)) as source, pa.ipc.open_stream(source) as reader:
            for batch in reader:
                if row < len(batch):
                    return batch["place"][row].as_py(), batch["text"][row].as_py()
                row -= len(batch)
        raise IndexError(row)


class _CheckedRow(NamedTuple):
    """A row as it is laid down: the cells of the Arrow file, and what is held in memory."""

    cells: list[str | None]
    digest: bytes
    code: int
    group: bytes


class RowChecker:
    """Decides about the rows of one split, each by itself.

    Args:
        split: The split's name, for the findings.
        columns: Where texts, label and group stand.
        labels: Reads the label column.
        findings: Where problems are counted.
    """

    def __init__(
        self, split: str, columns: FoundColumns, labels: LabelReader, findings: Findings
    ) -> None:
        self._split = split
        self._columns = columns
        self._labels = labels
        self._findings = findings

    def checked(self, rows: Iterable[Row | UnreadableRow]) -> Iterator[_CheckedRow]:
        """The rows that are not left out."""
        for row in rows:
            if isinstance(row, UnreadableRow):
                self._findings.add(row.problem, self._split, row.place, row.detail)
                continue
            checked = self._check(row)
            if checked is not None:
                yield checked

    def _check(self, row: Row) -> _CheckedRow | None:
        texts = self._texts(row)
        if texts is None:
            return None
        try:
            digest = text_digest(*texts)
        except UnicodeEncodeError:
            self._findings.add("undecodable", self._split, row.place, " ".join(texts))
            return None
        code = self._code(row, texts[0])
        if code is None:
            return None
        columns = self._columns
        group = b"" if columns.group is None else _group_digest(row.values.get(columns.group))
        slices = [_plain(row.values.get(name)) for name in columns.slices.values()]
        return _CheckedRow([*texts, row.place, *slices], digest, code, group)

    def _texts(self, row: Row) -> list[str] | None:
        """The text, or the text and its pair; None where the row is left out."""
        texts = []
        for column in self._columns.text:
            raw = row.values.get(column)
            text = raw if type(raw) is str else self._text_from(raw, row)
            if text is None:
                return None
            texts.append(text)
        for text in texts:
            if not text or text.isspace():
                return self._blank(row, texts)
        return texts

    def _text_from(self, raw: object, row: Row) -> str | None:
        """The text in a value that is not a string; empty if there is none."""
        if isinstance(raw, list | tuple | dict | set | bytes):
            detail = f"a {type(raw).__name__} instead of a text"
            self._findings.add("malformed", self._split, row.place, str(raw), detail=detail)
            return None
        return "" if _is_missing(raw) else str(raw)

    def _blank(self, row: Row, texts: list[str]) -> list[str] | None:
        """Counts a missing or empty text, and says what to go on with."""
        missing = any(_is_missing(row.values.get(column)) for column in self._columns.text)
        kind: Kind = "missing_text" if missing else "empty_text"
        action = self._findings.add(kind, self._split, row.place, " ".join(texts))
        return None if action == "drop" else texts

    def _code(self, row: Row, text: str) -> int | None:
        try:
            return self._labels.code(row.values.get(self._columns.label))
        except LabelError as error:
            self._findings.add(error.kind, self._split, row.place, text, detail=error.detail)
            return None


def _is_missing(raw: object) -> bool:
    return raw is None or (isinstance(raw, float) and math.isnan(raw))


def _group_digest(raw: object) -> bytes:
    """A digest of a group's name, the same for ``7`` and ``"7"``; `NO_GROUP` for none."""
    name = "" if _is_missing(raw) else str(raw).strip()
    if not name:
        return NO_GROUP.to_bytes(DIGEST_BYTES, "little")
    return hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=DIGEST_BYTES).digest()


def _plain(raw: object) -> str | None:
    """The value of a slice as text."""
    if raw is None or isinstance(raw, str):
        return raw if raw is None else raw.encode(errors="replace").decode()
    return json.dumps(raw, ensure_ascii=True, default=str)


def stage_split(
    rows: Iterable[Row | UnreadableRow],
    split: str,
    columns: FoundColumns,
    labels: LabelReader,
    findings: Findings,
    file: Path,
) -> StagedSplit:
    """Checks a split's rows one by one, and writes those that are not left out.

    Args:
        rows: The rows as the source gives them.
        split: The split's name.
        columns: Where texts, label and group stand.
        labels: Reads the label column.
        findings: Where problems are counted.
        file: The Arrow file to write.
    """
    checked = RowChecker(split, columns, labels, findings).checked(rows)
    schema = pa.schema([(name, pa.string()) for name in _staged_names(columns)])
    texts: list[Digests] = []
    codes: list[Codes] = []
    groups: list[Digests] = []
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        while batch := list(islice(checked, _ROWS_IN_BATCH)):
            writer.write_batch(_staged_batch(batch, schema))
            texts.append(digest_array(row.digest for row in batch))
            codes.append(np.fromiter((row.code for row in batch), np.int64, len(batch)))
            if columns.group is not None:
                groups.append(digest_array(row.group for row in batch))
    count = sum(map(len, texts))
    return StagedSplit(
        split=split,
        file=file,
        texts=np.concatenate([np.empty(0, np.uint64), *texts]),
        codes=np.concatenate([np.empty(0, np.int64), *codes]),
        groups=(
            None if columns.group is None else np.concatenate([np.empty(0, np.uint64), *groups])
        ),
        kept=np.ones(count, dtype=bool),
    )


def _staged_names(columns: FoundColumns) -> list[str]:
    return [*("text", "text_pair")[: len(columns.text)], "place", *columns.slices]


def _staged_batch(rows: Sequence[_CheckedRow], schema: pa.Schema) -> pa.RecordBatch:
    columns = zip(*(row.cells for row in rows), strict=True)
    return pa.record_batch([pa.array(cells, pa.string()) for cells in columns], schema=schema)


def write_split(
    staged: StagedSplit,
    wanted: Mask,
    label_ids: Sequence[Sequence[int]],
    labels: Labels,
    file: Path,
) -> str:
    """Writes the wanted rows with their label ids, in the source's order.

    Args:
        staged: The rows.
        wanted: ``[rows]``, which of them.
        label_ids: The label ids of each label code.
        labels: The label names.
        file: The Arrow file to write.

    Returns:
        The fingerprint: a SHA-256 in hexadecimal over texts, pairs and label names, in order.
    """
    fingerprint = _Fingerprint(label_ids, labels.names)
    kind = pa.list_(pa.int64()) if labels.multi_label else pa.int64()
    with pa.memory_map(str(staged.file)) as source, pa.ipc.open_stream(source) as reader:
        schema = reader.schema.insert(_label_position(reader.schema), pa.field("label", kind))
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            start = 0
            for batch in reader:
                here = slice(start, start + len(batch))
                start += len(batch)
                chosen = batch.filter(pa.array(wanted[here]))
                codes = staged.codes[here][wanted[here]]
                if len(chosen):
                    fingerprint.update(chosen, codes)
                    label = _label_column(codes, label_ids, multi_label=labels.multi_label)
                    columns = list(chosen.columns)
                    columns.insert(_label_position(reader.schema), label)
                    writer.write_batch(pa.record_batch(columns, schema=schema))
    return fingerprint.hexdigest()


def _label_position(schema: pa.Schema) -> int:
    position: int = schema.get_field_index("place")
    return position


def _label_column(
    codes: Codes, label_ids: Sequence[Sequence[int]], *, multi_label: bool
) -> pa.Array:
    if not multi_label:
        return pa.array(np.array([ids[0] if ids else -1 for ids in label_ids])[codes], pa.int64())
    return pa.array([label_ids[code] for code in codes.tolist()], pa.list_(pa.int64()))


def _joined(texts: pa.StringArray) -> pa.Buffer:
    """The bytes of all texts, one after the other."""
    in_one_list = pa.ListArray.from_arrays(pa.array([0, len(texts)], pa.int32()), texts)
    return pc.binary_join(in_one_list, "")[0].as_buffer()


class _Fingerprint:
    """Digests of a split's columns: their bytes and lengths, whatever the batches."""

    def __init__(self, label_ids: Sequence[Sequence[int]], labels: Sequence[str]) -> None:
        self._columns: dict[str, tuple[hashlib._Hash, hashlib._Hash]] = {}
        self._labels = hashlib.sha256()
        self._names = [json.dumps([labels[label] for label in ids]).encode() for ids in label_ids]

    def update(self, batch: pa.RecordBatch, codes: Codes) -> None:
        for name in ("text", "text_pair"):
            if name in batch.schema.names:
                content, lengths = self._columns.setdefault(
                    name, (hashlib.sha256(), hashlib.sha256())
                )
                sizes = pc.binary_length(batch[name]).to_numpy().astype("<i8")
                content.update(_joined(batch[name]))
                lengths.update(sizes.tobytes())
        self._labels.update(b"".join(self._names[code] for code in codes.tolist()))

    def hexdigest(self) -> str:
        whole = hashlib.sha256()
        for content, lengths in self._columns.values():
            whole.update(content.digest() + lengths.digest())
        whole.update(self._labels.digest())
        return whole.hexdigest()

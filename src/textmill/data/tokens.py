"""A split's token ids on disk: made once, then read from the cache by rows.

An entry of the cache is a folder of plain ``.npy`` files and a ``tokens.json`` that says how large
each must be. Rows have different lengths, so their ids lie one after the other in one flat file,
and ``offsets.npy`` says where each begins. Reading a batch is then a slice of mapped memory for
each row, about ten times faster than through an Arrow table of lists, and a table with more
rows than memory holds costs no more.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tokenizers
from torch.utils.data import Dataset

from textmill.cache import locked
from textmill.encoding import LengthPolicy, encode, tokenizer_fingerprint
from textmill.safe_write import replace_folder

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerFast

FORMAT = 1
MANIFEST = "tokens.json"

# Python takes the ids out of one portion while the library's threads tokenize another.
PORTIONS_AT_ONCE = 2

logger = logging.getLogger(__name__)


class BrokenEntryError(ValueError):
    """A folder of the cache is not the whole entry that was once written."""


# One for each row, or an array of each row's where a text may have several.
LabelIds = npt.NDArray[np.int64] | list[npt.NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class TokenRows:
    """Some rows of a split, unpadded.

    Args:
        index: The rows' numbers in the split, int64 ``[batch]``.
        input_ids: The token ids of each row, int32.
        token_type_ids: Of the same lengths; None if all of the split's are 0.
        labels: The label ids: int64 ``[batch]``, or with several labels a text, an array of each
            row's.
    """

    index: npt.NDArray[np.int64]
    input_ids: list[npt.NDArray[np.int32]]
    token_type_ids: list[npt.NDArray[np.uint8]] | None
    labels: LabelIds


class TokenizedSplit(Dataset[TokenRows]):
    """A tokenized split, mapped into memory; sent to another process as the name of its folder.

    Attributes:
        lengths: The tokens of each row, special tokens included, int32 ``[rows]``.
        cut: Whether the row's text was longer than the policy allows, bool ``[rows]``.
        share_cut: The share of such rows, between 0 and 1.

    Args:
        folder: An entry of the cache, from `tokenize_split`.

    Raises:
        BrokenEntryError: The folder is missing, or files of it are missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        arrays = _read_arrays(folder)
        self.lengths: npt.NDArray[np.int32] = arrays["lengths"]
        self.cut: npt.NDArray[np.bool_] = arrays["cut"]
        self.share_cut = float(self.cut.mean()) if len(self.cut) else 0.0
        self._input_ids = _Ragged(arrays["input_ids"], arrays["offsets"])
        types = arrays.get("token_type_ids")
        self._token_type_ids = None if types is None else _Ragged(types, arrays["offsets"])
        self._labels = arrays["label"]
        bounds = arrays.get("label_offsets")
        self._label_rows = None if bounds is None else _Ragged(self._labels, bounds)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitems__(self, indices: Sequence[int]) -> TokenRows:
        """Reads rows by their numbers, all at once (torch's loaders ask so for a batch)."""
        index = np.asarray(indices, dtype=np.int64)
        types = self._token_type_ids
        return TokenRows(
            index=index,
            input_ids=self._input_ids.rows(index),
            token_type_ids=None if types is None else types.rows(index),
            labels=self.labels(index),
        )

    def labels(self, index: npt.NDArray[np.int64]) -> LabelIds:
        """The label ids of rows, as `TokenRows` has them."""
        rows = self._label_rows
        return self._labels[index] if rows is None else rows.rows(index)

    def __reduce__(self) -> tuple[type[Self], tuple[Path]]:
        return type(self), (self.folder,)


def tokenize_split(
    examples: datasets.Dataset,
    tokenizer: PreTrainedTokenizerFast,
    policy: LengthPolicy,
    *,
    fingerprint: str,
    cache: Path,
    batch_rows: int = 4000,
) -> TokenizedSplit:
    """Tokenizes a split, or finds it tokenized in the cache.

    The entry's key is made from the data's content, the tokenizer's content and version, and the
    policy. Processes that need the same entry at once wait for the first one.

    Args:
        examples: With the columns ``text``, ``label`` (an id, or a list of ids), and for pairs
            ``text_pair``.
        tokenizer: Only read.
        policy: What happens to long texts.
        fingerprint: Of the content of these columns.
        cache: The cache folder; the entry is made under its ``tokens``.
        batch_rows: Texts given to the tokenizer at a time, whose threads share them.

    Raises:
        InputError: The policy leaves no room for a token of text.
        MachineError: The disk is full, or the cache can't be written.
    """
    key = _key(examples, tokenizer, policy, fingerprint)
    folder = cache / "tokens" / key
    known = _find(folder, len(examples))
    if known is not None:
        return known
    with locked(folder):
        known = _find(folder, len(examples))
        if known is not None:
            return known
        with replace_folder(folder) as temporary:
            _write(temporary, examples, tokenizer, policy, batch_rows)
        return TokenizedSplit(folder)


class _Ragged:
    """Rows of different lengths in one flat array.

    Args:
        values: The rows' values, one after the other.
        offsets: Where each row begins, and where the last one ends, ``[rows + 1]``.
    """

    def __init__(self, values: npt.NDArray[Any], offsets: npt.NDArray[np.int64]) -> None:
        self._values = values
        self._offsets = offsets

    def rows(self, index: npt.NDArray[np.int64]) -> list[npt.NDArray[Any]]:
        starts, ends = self._offsets[index].tolist(), self._offsets[index + 1].tolist()
        return [self._values[start:end] for start, end in zip(starts, ends, strict=True)]


class _GrowingArray:
    """A one-dimensional ``.npy`` file written piece by piece.

    The header is written again at the end; numpy leaves room in it for a growing length.
    """

    def __init__(self, path: Path, dtype: npt.DTypeLike) -> None:
        self._dtype = np.dtype(dtype)
        self._length = 0
        self._file = path.open("wb")
        self._write_header()

    def append(self, values: npt.NDArray[Any]) -> None:
        self._file.write(values.astype(self._dtype, copy=False).tobytes())
        self._length += len(values)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._file:
            self._file.seek(0)
            self._write_header()

    def _write_header(self) -> None:
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": (self._length,)}
        np.lib.format.write_array_header_1_0(self._file, header)


class _RaggedFiles:
    """Rows of different lengths, appended to a file of values and one of offsets."""

    def __init__(self, values: _GrowingArray, offsets: _GrowingArray) -> None:
        self._values = values
        self._offsets = offsets
        self._end = 0
        offsets.append(np.zeros(1, dtype=np.int64))

    def append(self, values: npt.NDArray[Any], lengths: npt.NDArray[np.integer]) -> None:
        self._values.append(values)
        self._offsets.append(self._end + np.cumsum(lengths, dtype=np.int64))
        self._end += len(values)


class _MakeFile(Protocol):
    def __call__(self, name: str, dtype: npt.DTypeLike) -> _GrowingArray: ...


def _key(
    examples: datasets.Dataset,
    tokenizer: PreTrainedTokenizerFast,
    policy: LengthPolicy,
    fingerprint: str,
) -> str:
    parts = {
        "format": FORMAT,
        "data": fingerprint,
        "pairs": "text_pair" in examples.column_names,
        "tokenizer": tokenizer_fingerprint(tokenizer),
        "tokenizers": tokenizers.__version__,
        "max_length": policy.max_length,
        "overflow": policy.overflow,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _find(folder: Path, rows: int) -> TokenizedSplit | None:
    if not folder.exists():
        return None
    try:
        split = TokenizedSplit(folder)
        if len(split) != rows:
            raise BrokenEntryError(f"{len(split)} rows instead of {rows}")
    except BrokenEntryError as error:
        logger.warning("the tokens in %s are damaged (%s) and are made again", folder, error)
        return None
    return split


def _read_arrays(folder: Path) -> dict[str, npt.NDArray[Any]]:
    """Maps the files of an entry, after comparing them with its manifest and with each other."""
    try:
        sizes: dict[str, int] = json.loads((folder / MANIFEST).read_text())["bytes"]
        wrong = [name for name, size in sizes.items() if (folder / name).stat().st_size != size]
        if wrong:
            raise BrokenEntryError(f"wrong size: {', '.join(wrong)}")
        # A plain view of the mapped file: slicing numpy's memmap class takes ten times as long.
        arrays = {
            Path(name).stem: np.load(folder / name, mmap_mode="r", allow_pickle=False).view(
                np.ndarray
            )
            for name in sizes
        }
        rows, offsets = len(arrays["lengths"]), arrays["offsets"]
        labels = len(arrays.get("label_offsets", arrays["label"]))
        whole = (
            len(offsets) == rows + 1
            and offsets[-1] == len(arrays["input_ids"])
            and len(arrays["cut"]) == rows
            and labels == rows + ("label_offsets" in arrays)
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BrokenEntryError(str(error)) from error
    if not whole:
        raise BrokenEntryError("row counts that differ")
    return arrays


def _write(
    folder: Path,
    examples: datasets.Dataset,
    tokenizer: PreTrainedTokenizerFast,
    policy: LengthPolicy,
    batch_rows: int,
) -> None:
    with ExitStack() as files:

        def file(name: str, dtype: npt.DTypeLike) -> _GrowingArray:
            return files.enter_context(_GrowingArray(folder / f"{name}.npy", dtype))

        write_tokens, write_labels = _TokenWriter(file), _label_writer(file, examples)
        columns = {"text", "text_pair", "label"}.intersection(examples.column_names)
        tables = examples.select_columns(sorted(columns)).with_format("arrow")
        portions = tables.iter(batch_size=batch_rows)
        for portion in _ahead(partial(_tokenize, tokenizer, policy), portions):
            write_tokens(portion)
            write_labels(portion.labels)
    if not write_tokens.types_used:
        (folder / "token_type_ids.npy").unlink()
    sizes = {path.name: path.stat().st_size for path in sorted(folder.glob("*.npy"))}
    (folder / MANIFEST).write_text(json.dumps({"format": FORMAT, "bytes": sizes}, indent=1))


@dataclass(frozen=True, slots=True, eq=False)
class _Portion:
    """Some rows of a split, tokenized, their tokens one after the other.

    Args:
        input_ids: Of all rows, int32 ``[tokens]``.
        token_type_ids: The same, uint8; None for a tokenizer whose models take none.
        lengths: The tokens of each row, int32 ``[rows]``.
        cut: Whether the row's text was longer than the policy allows, bool ``[rows]``.
        labels: The column of the labels.
    """

    input_ids: npt.NDArray[np.int32]
    token_type_ids: npt.NDArray[np.uint8] | None
    lengths: npt.NDArray[np.int32]
    cut: npt.NDArray[np.bool_]
    labels: pa.Array


def _tokenize(
    tokenizer: PreTrainedTokenizerFast, policy: LengthPolicy, table: pa.Table
) -> _Portion:
    pairs = table["text_pair"].to_pylist() if "text_pair" in table.column_names else None
    encoded = encode(tokenizer, table["text"].to_pylist(), pairs, policy)
    types = encoded.token_type_ids
    return _Portion(
        _flat(encoded.input_ids, np.int32),
        None if types is None else _flat(types, np.uint8),
        np.fromiter(map(len, encoded.input_ids), dtype=np.int32),
        np.array(encoded.cut, dtype=np.bool_),
        table["label"].combine_chunks(),
    )


def _ahead(make: Callable[[pa.Table], _Portion], tables: Iterator[pa.Table]) -> Iterator[_Portion]:
    """The portions in order; some are in the making while one is used."""
    making: deque[Future[_Portion]] = deque()
    with ThreadPoolExecutor(PORTIONS_AT_ONCE) as threads:
        for table in tables:
            making.append(threads.submit(make, table))
            if len(making) > PORTIONS_AT_ONCE:
                yield making.popleft().result()
        while making:
            yield making.popleft().result()


class _TokenWriter:
    """Appends portions to the entry's files; ``types_used`` tells of a token type above 0."""

    def __init__(self, file: _MakeFile) -> None:
        self.types_used = False
        self._ids = _RaggedFiles(file("input_ids", np.int32), file("offsets", np.int64))
        self._types = file("token_type_ids", np.uint8)
        self._lengths = file("lengths", np.int32)
        self._cut = file("cut", np.bool_)

    def __call__(self, portion: _Portion) -> None:
        self._ids.append(portion.input_ids, portion.lengths)
        self._lengths.append(portion.lengths)
        self._cut.append(portion.cut)
        if portion.token_type_ids is not None:
            self._types.append(portion.token_type_ids)
            self.types_used = self.types_used or bool(portion.token_type_ids.any())


def _label_writer(file: _MakeFile, examples: datasets.Dataset) -> Callable[[pa.Array], None]:
    label = file("label", np.int64)
    if not pa.types.is_list(examples.features.arrow_schema.field("label").type):
        return lambda column: label.append(column.to_numpy())
    rows = _RaggedFiles(label, file("label_offsets", np.int64))
    return lambda column: rows.append(
        column.flatten().to_numpy(), column.value_lengths().to_numpy()
    )


def _flat(rows: list[list[int]], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    return np.fromiter(chain.from_iterable(rows), dtype=dtype)

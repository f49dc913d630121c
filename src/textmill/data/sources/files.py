"""Rows from csv, tsv, JSON lines and parquet files, wherever they lie."""

from __future__ import annotations

import difflib
import glob
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from textmill.data.rows import SPLITS, Row, UnreadableRow
from textmill.data.sources.decoding import check_encoding
from textmill.data.sources.readers import (
    DelimitedReader,
    FileReader,
    Format,
    JsonLinesReader,
    ParquetReader,
    readable,
)
from textmill.errors import InputError

FileNames = str | Path | Sequence[str | Path]

_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".txt": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_DELIMITERS: dict[Format, str] = {"csv": ",", "tsv": "\t"}
_USUAL_NAMES = {
    "train": ("train",),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}


@dataclass(frozen=True, slots=True)
class FileFormat:
    """How files are read.

    Args:
        format: The files' format; None goes by each file's name.
        encoding: The encoding of csv, tsv and jsonl files.
        delimiter: The character between cells; None is a comma in csv and a tab in tsv.
        quoting: Whether double quotes enclose cells of csv and tsv files.
        header: Whether the first line of csv and tsv files names the columns.
        skip_after_header: How many more lines to pass over before the first row.
    """

    format: Format | None = None
    encoding: str = "utf-8"
    delimiter: str | None = None
    quoting: bool = True
    header: bool = True
    skip_after_header: int = 0

    def of(self, path: Path) -> Format:
        """The format of one file.

        Raises:
            InputError: Neither the settings nor the file's name say what it is.
        """
        found = self.format or _SUFFIXES.get(_suffix(path))
        if found is None:
            raise InputError(
                f"the ending of {path.name!r} doesn't say what format the file has",
                where=str(path.parent),
                hint="set data.format to csv, tsv, jsonl or parquet",
            )
        return found

    def reader(self, path: Path) -> FileReader:
        """What reads one file."""
        file_format = self.of(path)
        if file_format == "parquet":
            return ParquetReader()
        if file_format == "jsonl":
            return JsonLinesReader(self.encoding)
        return DelimitedReader(
            delimiter=self.delimiter or _DELIMITERS[file_format],
            encoding=self.encoding,
            quoting=self.quoting,
            header=self.header,
            skip_after_header=self.skip_after_header,
        )


class FilesSource:
    """Labelled text in files; each split has one or more.

    Args:
        paths: The files of each split: a file, a glob, a folder (all data files right in it), or
            several of these. If empty, the data files in ``root``: those whose names begin
            with ``train``, ``validation`` (or ``valid``, ``val``, ``dev``) and ``test``, or else
            all of them for ``train``.
        root: The folder that relative paths start from; without ``paths`` also a single file.
        file_format: How the files are read.

    Raises:
        InputError: Files are missing, have no known format, are empty or not what their names say,
            or the files of one split have different columns. All problems at once.
    """

    def __init__(
        self,
        paths: Mapping[str, FileNames],
        *,
        root: Path | None = None,
        file_format: FileFormat | None = None,
    ) -> None:
        self._format = file_format or FileFormat()
        _check_format(self._format)
        self._root = root
        self._files = _find_all(paths, root, self._format)
        folders = {path.parent.absolute() for files in self._files.values() for path in files}
        self._base = os.path.commonpath(folders)
        self._columns = self._checked_columns()

    def splits(self) -> tuple[str, ...]:
        """The splits that have files."""
        return tuple(split for split in SPLITS if split in self._files)

    def columns(self, split: str) -> tuple[str, ...]:
        """The columns of a split's files, in the order of the first."""
        return self._columns[split]

    def rows(self, split: str) -> Iterator[Row | UnreadableRow]:
        """A split's rows, file after file.

        Raises:
            InputError: A file is broken where the reading has come to.
        """
        for path in self._files[split]:
            name = os.path.relpath(path.absolute(), self._base)
            yield from self._format.reader(path).rows(path, name)

    def fingerprint(self) -> str:
        """A SHA-256 over the contents of the files, in their order, and how they are read."""
        digest = hashlib.sha256(json.dumps(asdict(self._format)).encode())
        for split in self.splits():
            for path in self._files[split]:
                with readable(path), path.open("rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
                digest.update(f"\n{split} {_suffix(path)} {content}".encode())
        return digest.hexdigest()

    def describe(self) -> str:
        """The root, or else the file, or the folder that all files are in."""
        if self._root is not None:
            return str(self._root)
        files = {path for files in self._files.values() for path in files}
        return str(files.pop()) if len(files) == 1 else os.path.relpath(self._base)

    def _checked_columns(self) -> dict[str, tuple[str, ...]]:
        columns: dict[str, tuple[str, ...]] = {}
        problems: list[InputError] = []
        for split, files in self._files.items():
            for path in files:
                try:
                    found = self._format.reader(path).columns(path)
                    columns[split] = self._joined(columns.get(split), found, split, path)
                except InputError as problem:
                    problems.append(problem)
        if problems:
            raise InputError.all_of(problems)
        return columns

    def _joined(
        self, known: tuple[str, ...] | None, found: tuple[str, ...], split: str, path: Path
    ) -> tuple[str, ...]:
        """A split's columns after one more of its files was looked at."""
        if known is None:
            return found
        if self._format.of(path) == "jsonl":
            return tuple(dict.fromkeys((*known, *found)))
        if set(known) != set(found):
            raise InputError(
                f"the files of {split} have different columns, {', '.join(found)} where the others "
                f"have {', '.join(known)}",
                where=str(path),
                hint=f"name only files of one kind in data.{split}",
            )
        return known


def _check_format(file_format: FileFormat) -> None:
    check_encoding(file_format.encoding)
    delimiter = file_format.delimiter
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '\r\n"'):
        raise InputError(
            f"{delimiter!r} can't stand between cells",
            where="data.delimiter",
            hint="give one character, such as ; or |",
        )


def _find_all(
    paths: Mapping[str, FileNames], root: Path | None, file_format: FileFormat
) -> dict[str, tuple[Path, ...]]:
    """The files of each split; every missing one is told."""
    if not paths:
        return _find_by_name(root, file_format)
    files: dict[str, tuple[Path, ...]] = {}
    problems: list[InputError] = []
    for split, names in paths.items():
        for name in [names] if isinstance(names, str | Path) else names:
            try:
                found = _find(name, root, file_format)
                files[split] = tuple(dict.fromkeys((*files.get(split, ()), *found)))
            except InputError as problem:
                problems.append(problem)
    if problems:
        raise InputError.all_of(problems)
    return files


def _find_by_name(root: Path | None, file_format: FileFormat) -> dict[str, tuple[Path, ...]]:
    if root is None:
        raise InputError("no files are named", hint="set data.train=FILE or data.path=FOLDER")
    found = _find(root, None, file_format)
    splits = {
        split: tuple(path for path in found if path.name.lower().startswith(starts))
        for split, starts in _USUAL_NAMES.items()
    }
    if not splits["train"]:
        return {"train": tuple(found)}
    return {split: files for split, files in splits.items() if files}


def _find(name: str | Path, root: Path | None, file_format: FileFormat) -> list[Path]:
    """The files that a file name, a glob or a folder stands for, in the order of their names."""
    path = (root or Path()) / Path(name).expanduser()
    if path.is_dir():
        return _data_files(path, file_format)
    if path.is_file():
        return [path]
    if path.exists():
        hint = "write it to a file first, because it is read more than once"
        raise InputError("this is not a regular file", where=str(path), hint=hint)
    if any(sign in str(name) for sign in "*?["):
        pattern = os.path.join(glob.escape(str(root or "")), Path(name).expanduser())  # noqa: PTH118
        matches = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207
        files = [match for match in matches if match.is_file()]
        if files:
            return files
        raise InputError("no file matches", where=str(path), hint=_near(path))
    raise InputError("there is no such file", where=str(path), hint=_near(path))


def _data_files(folder: Path, file_format: FileFormat) -> list[Path]:
    """The files of known formats right in a folder; all files, if the format is set and none is."""
    with readable(folder):
        files = [p for p in sorted(folder.iterdir()) if p.is_file() and p.name[0] != "."]
    known = [path for path in files if _suffix(path) in _SUFFIXES]
    if not known and (file_format.format is None or not files):
        endings = ", ".join(_SUFFIXES)
        raise InputError(
            "the folder has no data files", where=str(folder), hint=f"put in files with {endings}"
        )
    return known or files


def _near(path: Path) -> str:
    """What there is instead of a missing file."""
    folder = path.parent
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    if folder != path.parent and "*" not in str(path.parent):
        return f"the folder {path.parent} doesn't exist either"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name[0] != ".")
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5) or names[:5]
    if not near:
        return f"the folder {folder} is empty"
    return f"the folder {folder} has {', '.join(near)}"


def _suffix(path: Path) -> str:
    """A file's ending, without that of gzip."""
    bare = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return bare.suffix.lower()

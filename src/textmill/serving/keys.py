"""API keys: who may ask, and where a service without keys may be reached."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable, Mapping
from pathlib import Path

from textmill.errors import InputError

VARIABLE = "TEXTMILL_API_KEYS"
SHORTEST = 16


class ApiKeys:
    """The keys that open a service; of each, only a hash is kept.

    Args:
        keys: The keys; without any, everybody may ask.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._hashes = [_hash(key) for key in keys]

    def __len__(self) -> int:
        return len(self._hashes)

    def take(self, others: ApiKeys) -> None:
        """From now on, has other keys in the place of these."""
        self._hashes = others._hashes

    def allow(self, presented: str | None) -> bool:
        """Whether a request with this key may be answered; takes the same time for any key."""
        if not self._hashes:
            return True
        found = _hash(presented or "")
        return sum(hmac.compare_digest(found, known) for known in self._hashes) > 0


def read_keys(environment: Mapping[str, str], file: Path | None) -> ApiKeys:
    """The keys of a file, one a line, or else those of ``TEXTMILL_API_KEYS``, between commas.

    Args:
        environment: The environment.
        file: The file; lines that begin with ``#`` are comments.

    Raises:
        InputError: The file can't be read, it has no key, or a key is no good one.
    """
    if file is None:
        keys = [key.strip() for key in environment.get(VARIABLE, "").split(",")]
        return ApiKeys(_checked([key for key in keys if key], VARIABLE))
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "the file of keys can't be read", where=str(file), hint="check its path and permissions"
        ) from error
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise InputError("the file has no key", where=str(file), hint="write one on a line")
    return ApiKeys(_checked(keys, str(file)))


def check_exposure(host: str, keys: ApiKeys, *, insecure: bool) -> None:
    """Makes sure that a service which other machines can reach asks for a key.

    Raises:
        InputError: It would not, and ``insecure`` doesn't allow that.
    """
    if not keys and not insecure and not _is_loopback(host):
        raise InputError(
            f"other machines could use the service at {host} without a key",
            hint=f"set {VARIABLE} or --api-keys FILE, or add --insecure",
        )


def _checked(keys: list[str], where: str) -> list[str]:
    """Refuses keys that can be guessed, or that no header can carry; never shows one."""
    for number, key in enumerate(keys, start=1):
        if len(key) < SHORTEST:
            raise InputError(
                f"key {number} has fewer than {SHORTEST} characters",
                where=where,
                hint="make one: openssl rand -hex 32",
            )
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise InputError(
                f"key {number} has characters that a header can't carry",
                where=where,
                hint="make one: openssl rand -hex 32",
            )
    return keys


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()

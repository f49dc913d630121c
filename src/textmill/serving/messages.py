"""What a supervisor and its workers tell each other."""

from __future__ import annotations

from dataclasses import dataclass

from textmill.serving.keys import ApiKeys


@dataclass(frozen=True, slots=True)
class Load:
    """The supervisor's order to take another bundle.

    Args:
        path: The bundle, as on the command line.
    """

    path: str


@dataclass(frozen=True, slots=True)
class TakeKeys:
    """The supervisor's order to let in who has one of other keys.

    Args:
        keys: These keys.
    """

    keys: ApiKeys


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker's word that it serves a bundle.

    Args:
        folder: The bundle's folder, without links on the way.
        fingerprint: A SHA-256 over all that decides what it predicts.
    """

    folder: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A worker's word that it doesn't take a bundle.

    Args:
        problems: What is wrong, each in one line.
        exit_status: That of a command which this ends.
    """

    problems: tuple[str, ...]
    exit_status: int

"""The few exceptions that users meet.

Inside, code raises one of these; the command line prints each problem as one line and exits with
``exit_status``. From Python they are ordinary exceptions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Self

MOST_NAMES = 30


class TextmillError(Exception):
    """The work failed for a reason that the user can do something about.

    Args:
        what: What went wrong.
        where: The file, row, key or folder concerned, if there is one.
        hint: The next step, as an instruction.
    """

    exit_status = 1

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.problems: tuple[str, ...] = (one_line(what, where=where, hint=hint),)
        super().__init__(self.problems[0])

    @classmethod
    def all_of(cls, problems: Iterable[TextmillError]) -> Self:
        """One error that tells several problems at once."""
        lines = tuple(line for problem in problems for line in problem.problems)
        error = cls("\n".join(lines))
        error.problems = lines
        return error


class InputError(TextmillError):
    """The input was wrong: a key, a file, a row, a folder."""

    exit_status = 2


class MachineError(TextmillError):
    """The machine failed: a full disk, a folder that can't be written, a network that is away."""


def make_all(checks: Iterable[Callable[[], object]]) -> None:
    """Makes every one of some checks, and tells together what they find.

    Raises:
        InputError: The input is wrong, whatever else is.
        MachineError: Only the machine is.
    """
    found: list[TextmillError] = []
    for check in checks:
        try:
            check()
        except TextmillError as error:
            found.append(error)
    if found:
        wrong_input = any(isinstance(error, InputError) for error in found)
        raise (InputError if wrong_input else MachineError).all_of(found) from found[0]


def one_line(what: str, *, where: str | None = None, hint: str | None = None) -> str:
    """Joins the three parts of a message: ``WHAT, in WHERE: NEXT STEP``."""
    message = what if where is None else f"{what}, in {where}"
    message = message if hint is None else f"{message}: {hint}"
    # What the user's data put into a message must not steer the terminal.
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in " ".join(message.split()))


def reason_of(error: Exception) -> str:
    """Any error in one line."""
    if isinstance(error, TextmillError):
        return "; ".join(error.problems)
    return one_line(f"{type(error).__name__}: {error}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: the nearest known ones, or else all of them, if not too many."""
    import difflib  # slow to import for the command line's --help

    by_folded: dict[str, list[str]] = {}
    for other in sorted(set(known)):
        by_folded.setdefault(other.casefold(), []).append(other)
    folded = difflib.get_close_matches(name.casefold(), by_folded, n=3)
    near = [other for match in folded for other in by_folded[match]]
    if near:
        return f"did you mean {' or '.join(near)}?"
    names = [other for others in by_folded.values() for other in others]
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"choose one of {', '.join(names[:MOST_NAMES])}{more}"

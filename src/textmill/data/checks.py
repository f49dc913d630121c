"""What can be wrong with labelled text, what is done about each, and how it is told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Literal, get_args

from textmill.data.rows import SPLITS
from textmill.errors import InputError, did_you_mean
from textmill.legible import shorten

Kind = Literal[
    "wrong_width",
    "undecodable",
    "malformed",
    "missing_text",
    "empty_text",
    "missing_label",
    "unknown_label",
    "label_only_in_test",
    "rare_class",
    "duplicate",
    "conflicting_duplicate",
    "leak",
]
Action = Literal["error", "drop", "keep"]

KINDS: tuple[Kind, ...] = get_args(Kind)
ACTIONS: tuple[Action, ...] = get_args(Action)

# A row that can't be read, or that has no label to learn from, can't be kept.
NEVER_KEPT: frozenset[Kind] = frozenset(
    ("wrong_width", "undecodable", "malformed", "missing_label", "unknown_label")
)

# What a row is or has, and what many rows are or have.
_WORDING: dict[Kind, tuple[str, str]] = {
    "wrong_width": ("has the wrong number of cells", "have the wrong number of cells"),
    "undecodable": (
        "has bytes that are not text in the file's encoding",
        "have bytes that are not text in the file's encoding",
    ),
    "malformed": ("is malformed", "are malformed"),
    "missing_text": ("has no text", "have no text"),
    "empty_text": ("has an empty text", "have an empty text"),
    "missing_label": ("has no label", "have no label"),
    "unknown_label": ("has an unknown label", "have an unknown label"),
    "label_only_in_test": (
        "has a label that train does not have",
        "have a label that train does not have",
    ),
    "rare_class": (
        "is of a class with too few examples to be in every split",
        "are of classes with too few examples to be in every split",
    ),
    "duplicate": (
        "repeats the text and label of an earlier row",
        "repeat the text and label of an earlier row",
    ),
    "conflicting_duplicate": (
        "has the text of another row, with a different label",
        "have the text of another row, with a different label",
    ),
    "leak": (
        "shares its text or group with another split",
        "share their text or group with another split",
    ),
}

# What to try before leaving rows out.
_REMEDIES: dict[Kind, str] = {
    "wrong_width": "check data.delimiter and data.quoting",
    "undecodable": "set data.encoding=ENCODING",
    "unknown_label": "correct data.labels or data.label_values",
    "label_only_in_test": "declare all labels in data.labels",
}

_DETAILS = 3


@dataclass(frozen=True, slots=True)
class Policies:
    """What to do about each kind of problem.

    ``error`` stops before any work, ``drop`` leaves the rows out, ``keep`` goes on with them; what
    was found is told in each case.

    Args:
        wrong_width: A row with too many or too few cells; can't be kept.
        undecodable: Bytes that are not text in the file's encoding; can't be kept.
        malformed: A line that is not JSON, or a list where a text belongs; can't be kept.
        missing_text: No value for the text; kept as an empty text.
        empty_text: Nothing but white space.
        missing_label: No value for the label; can't be kept.
        unknown_label: A label outside the declared ones, or that can't be read as one; can't be
            kept.
        label_only_in_test: A label of validation or test that train does not have, where the
            labels are not declared; kept, it becomes one of the labels.
        rare_class: A class with too few separate texts or groups for each of the splits that are
            made; kept, some splits are without it.
        duplicate: The same text and label again in a split; dropping keeps the first.
        conflicting_duplicate: The same text with different labels in a split; dropping takes all.
        leak: A text, or a group, that is also in another split; dropping takes it from train
            before validation, from test never.
    """

    wrong_width: Action = "error"
    undecodable: Action = "error"
    malformed: Action = "error"
    missing_text: Action = "drop"
    empty_text: Action = "drop"
    missing_label: Action = "error"
    unknown_label: Action = "error"
    label_only_in_test: Action = "error"
    rare_class: Action = "error"
    duplicate: Action = "keep"
    conflicting_duplicate: Action = "keep"
    leak: Action = "drop"

    def __post_init__(self) -> None:
        """Checks that each action is one that its problem allows."""
        errors = [_not_allowed(kind, self.action(kind)) for kind in KINDS]
        found = [error for error in errors if error is not None]
        if found:
            raise InputError.all_of(found)

    def action(self, kind: Kind) -> Action:
        """What to do about problems of ``kind``."""
        action: Action = getattr(self, kind)
        return action


def _not_allowed(kind: Kind, action: str) -> InputError | None:
    allowed = [name for name in ACTIONS if name != "keep" or kind not in NEVER_KEPT]
    if action in allowed:
        return None
    what = "rows that can't be used can't be kept" if action == "keep" else f"no action {action}"
    return InputError(what, where=f"data.on_problem.{kind}", hint=did_you_mean(action, allowed))


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with some rows of a split.

    Args:
        kind: One of `KINDS`.
        split: The split in which the rows stand.
        count: How many rows it concerns.
        example: The beginning of one such row's text, on one line.
        place: Where that row stands: ``reviews.csv:17``.
        action: What was done: ``error``, ``drop`` or ``keep``.
        detail: What exactly, where the kind alone does not tell: the labels concerned.
    """

    kind: Kind
    split: str
    count: int
    example: str
    place: str
    action: Action
    detail: str = ""

    def as_record(self) -> dict[str, object]:
        """The problem as plain values."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    @property
    def sentence(self) -> str:
        """What was found and what was done about it."""
        done = {"drop": "left out", "keep": "kept", "error": "an error"}[self.action]
        return f"{self._what()}, first at {self.place}: {done}"

    def error(self) -> InputError:
        """The problem as a message: what, where, and the next step."""
        example = f'{self.place} ("{self.example}")' if self.example else self.place
        return InputError(self._what(), where=example, hint=self._next_step())

    def _what(self) -> str:
        one, many = _WORDING[self.kind]
        rows = f"1 row of {self.split} {one}"
        if self.count > 1:
            rows = f"{self.count:,} rows of {self.split} {many}"
        return f"{rows} ({self.detail})" if self.detail else rows

    def _next_step(self) -> str:
        key = f"data.on_problem.{self.kind}"
        it = "it" if self.count == 1 else "them"
        step = f"set {key}=drop to leave {it} out"
        if self.kind not in NEVER_KEPT:
            step = f"{step}, or {key}=keep to go on"
        remedy = _REMEDIES.get(self.kind)
        return f"{remedy}, or {step}" if remedy else step


@dataclass(slots=True)
class _Tally:
    """The rows of one kind and split counted so far."""

    example: str
    place: str
    count: int = 0
    details: dict[str, None] = field(default_factory=dict)


class Findings:
    """The problems met while a source is read: counted, with the first example of each.

    Args:
        policies: What to do about each kind.
    """

    def __init__(self, policies: Policies) -> None:
        self._policies = policies
        self._tallies: dict[tuple[str, Kind], _Tally] = {}

    def add(
        self, kind: Kind, split: str, place: str, example: str, *, count: int = 1, detail: str = ""
    ) -> Action:
        """Counts ``count`` rows and says what to do about them."""
        tally = self._tallies.get((split, kind))
        if tally is None:
            tally = self._tallies[split, kind] = _Tally(shorten(example), place)
        tally.count += count
        if detail and len(tally.details) <= _DETAILS:
            tally.details[shorten(detail)] = None
        return self._policies.action(kind)

    def problems(self) -> list[Problem]:
        """All that was found, by split and kind."""
        found = sorted(
            self._tallies.items(),
            key=lambda item: (SPLITS.index(item[0][0]), KINDS.index(item[0][1])),
        )
        return [
            Problem(
                kind=kind,
                split=split,
                count=tally.count,
                example=tally.example,
                place=tally.place,
                action=self._policies.action(kind),
                detail=_joined(list(tally.details)),
            )
            for (split, kind), tally in found
        ]

    def raise_errors(self, also: Iterable[InputError] = ()) -> None:
        """Ends the work where a problem's policy is ``error``.

        Args:
            also: Further problems to tell.

        Raises:
            InputError: All such problems, one line for each kind and split.
        """
        errors = [problem.error() for problem in self.problems() if problem.action == "error"]
        errors += also
        if errors:
            raise InputError.all_of(errors)


def _joined(details: list[str]) -> str:
    return "; ".join(details[:_DETAILS]) + ("; ..." if len(details) > _DETAILS else "")

"""From the value in a label column to label names, and from all names to their order."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from textmill.errors import InputError
from textmill.labels import Labels

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_WHOLE_NUMBER_AS_FLOAT = re.compile(r"([+-]?[0-9]{1,18})\.0+")
_REMEMBERED = 100_000
_SHOWN = 8


class LabelError(Exception):
    """A raw value gives no label.

    Args:
        kind: Whether there is no value, or one that is no label.
        detail: What the value is, for the message.
    """

    def __init__(self, kind: Literal["missing_label", "unknown_label"], detail: str = "") -> None:
        self.kind = kind
        self.detail = detail
        super().__init__(detail)


@dataclass(frozen=True, slots=True)
class LabelRule:
    """How the values of a label column are read.

    Args:
        names: The labels in their order, declared; None takes those of train, sorted. Where none
            of the names is a number, the whole numbers from 0 stand for the names in turn.
        values: From the value in the data to the label's name. Without ``names``, the names here
            are the declared ones, in this order.
        thresholds: Rising numbers that cut a numeric label into ``len(thresholds) + 1`` classes; a
            value's class is the number of thresholds strictly below it. Without ``names``, the
            classes are named after their intervals.
        multi_label: Whether a text may have any number of labels: a list, or a delimited string.
        delimiter: What separates the labels in a string.

    Raises:
        InputError: The settings contradict each other.
    """

    names: tuple[str, ...] | None = None
    values: Mapping[str, str] | None = None
    thresholds: tuple[float, ...] | None = None
    multi_label: bool = False
    delimiter: str | None = None

    def __post_init__(self) -> None:
        """Checks the settings against each other."""
        found = contradictions(
            self.names,
            self.values,
            self.thresholds,
            multi_label=self.multi_label,
            delimiter=self.delimiter,
        )
        errors = [InputError(what, hint=hint) for what, _, hint in found]
        if errors:
            raise InputError.all_of(errors)

    def declared(self) -> tuple[str, ...] | None:
        """The labels in their order, where the rule says them."""
        return declared_labels(self.names, self.values, self.thresholds)

    def within(self, labels: Labels) -> LabelRule:
        """The rule for reading labels that a finished classifier knows.

        Raises:
            InputError: One is for several labels a text and the other is not.
        """
        if labels.multi_label != self.multi_label:
            raise InputError(
                f"the classifier gives {_how_many(labels.multi_label)}, "
                f"and the data has {_how_many(self.multi_label)}",
                hint=f"set data.multi_label={str(labels.multi_label).lower()}",
            )
        if self.names is None and self.values is None:
            return replace(self, names=labels.names)
        return self


def _how_many(multi_label: bool) -> str:
    return "any number of labels a text" if multi_label else "one label a text"


def declared_labels(
    names: Sequence[str] | None,
    values: Mapping[str, str] | None,
    thresholds: Sequence[float] | None,
) -> tuple[str, ...] | None:
    """The labels in their order, where the settings of a `LabelRule` say them."""
    if names is not None:
        return tuple(names)
    if thresholds is not None:
        return interval_names(thresholds)
    if values is not None:
        return tuple(dict.fromkeys(values.values()))
    return None


def contradictions(
    names: Sequence[str] | None,
    values: Mapping[str, str] | None,
    thresholds: Sequence[float] | None,
    *,
    multi_label: bool,
    delimiter: str | None,
) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """What is wrong between the settings of a `LabelRule`.

    Returns:
        For each contradiction what it is, the keys of the configuration that have a part in it,
        and the next step.
    """
    if names is not None and len({label_name(name) for name in names}) < len(names):
        yield (
            f"a label is declared twice: {', '.join(names)}",
            ("data.labels",),
            "correct data.labels",
        )
    declared = declared_labels(names, values, thresholds)
    if declared is not None and len(declared) < 2 and not multi_label:
        yield (
            "at least two labels are needed",
            ("data.labels" if names is not None else "data.label_values",),
            "correct data.labels or data.label_values",
        )
    if names is not None and values is not None:
        strange = [name for name in values.values() if name not in names]
        if strange:
            yield (
                f"data.label_values gives labels that data.labels does not have: {_list(strange)}",
                ("data.label_values", "data.labels"),
                "correct data.label_values or data.labels",
            )
    if thresholds is not None:
        yield from _threshold_contradictions(names, thresholds)
        if values is not None or multi_label:
            other = "data.multi_label" if multi_label else "data.label_values"
            yield (
                "thresholds go with neither data.label_values nor data.multi_label",
                ("data.label_thresholds", other),
                "set data.label_thresholds=null",
            )
    if delimiter is not None and not (multi_label and delimiter):
        yield (
            "a label delimiter is for several labels a text",
            ("data.label_delimiter", "data.multi_label"),
            "set data.multi_label=true",
        )


def _threshold_contradictions(
    names: Sequence[str] | None, thresholds: Sequence[float]
) -> Iterator[tuple[str, tuple[str, ...], str]]:
    rising = all(low < high for low, high in pairwise(thresholds))
    if not thresholds or not rising or not all(map(math.isfinite, thresholds)):
        yield (
            "label thresholds must be rising numbers",
            ("data.label_thresholds",),
            "correct data.label_thresholds",
        )
    if names is not None and len(names) != len(thresholds) + 1:
        yield (
            f"{len(thresholds)} thresholds make {len(thresholds) + 1} classes, "
            f"and {len(names)} labels are declared",
            ("data.label_thresholds", "data.labels"),
            "correct data.label_thresholds or data.labels",
        )


def interval_names(thresholds: Sequence[float]) -> tuple[str, ...]:
    """Names for the classes between thresholds: ``<=0``, ``>0 to 1``, ``>1``."""
    cuts = [f"{threshold:g}" for threshold in thresholds]
    between = [f">{low} to {high}" for low, high in pairwise(cuts)]
    return (f"<={cuts[0]}", *between, f">{cuts[-1]}") if cuts else ()


def label_name(raw: object) -> str | None:
    """The name of a single raw value, the same from every file format; None if there is none.

    White space around a name is not part of it. Whole numbers lose a fraction of zero (``1``,
    ``"1"``, ``1.0`` and ``"1.0"`` are ``1``), and booleans are ``true`` and ``false`` however they
    are capitalised; other names stay as they are.
    """
    if raw is None or (isinstance(raw, float) and math.isnan(raw)):
        return None
    if isinstance(raw, float) and raw.is_integer():
        return str(int(raw))
    text = str(raw).strip()
    if text.lower() in ("true", "false"):
        return text.lower()
    whole = _WHOLE_NUMBER_AS_FLOAT.fullmatch(text)
    return str(int(whole[1])) if whole else text or None


def ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Names in the order of their labels' ids: numeric if all are whole numbers, else by name."""
    distinct = sorted(set(names))
    if all(_WHOLE_NUMBER.fullmatch(name) for name in distinct):
        return tuple(sorted(distinct, key=int))
    return tuple(distinct)


class LabelReader:
    """Reads raw values, and numbers the distinct sets of label names that it meets.

    Args:
        rule: How values are read.
        known: The only labels there may be; None allows all, or those that the rule declares.

    Attributes:
        rule: As given.
        declared: The only labels there may be, in their order; None where train decides.
        sets: The distinct sets of names met so far; a set's position is its code. For one label a
            text each set has one name.
    """

    def __init__(self, rule: LabelRule, known: tuple[str, ...] | None = None) -> None:
        self.rule = rule
        self.declared = known if known is not None else rule.declared()
        self._lookup = _lookup(rule)
        self._codes: dict[tuple[str, ...], int] = {}
        self._remembered: dict[tuple[type, object], int] = {}
        self.sets: list[tuple[str, ...]] = []

    def code(self, raw: object) -> int:
        """The code of the set of labels that a raw value gives.

        Raises:
            LabelError: The value is missing or is no label.
        """
        simple = isinstance(raw, str | int | float)
        if simple:
            remembered = self._remembered.get((type(raw), raw))
            if remembered is not None:
                return remembered
        code = self.code_of(self._names(raw))
        if simple and len(self._remembered) < _REMEMBERED:
            self._remembered[type(raw), raw] = code
        return code

    def code_of(self, names: tuple[str, ...]) -> int:
        """The code of a set of label names, given as `sets` has them: sorted, none twice."""
        code = self._codes.setdefault(names, len(self.sets))
        if code == len(self.sets):
            self.sets.append(names)
        return code

    def _names(self, raw: object) -> tuple[str, ...]:
        if self.rule.multi_label:
            return tuple(sorted({self._name(part) for part in self._parts(raw)}))
        if isinstance(raw, list | tuple | dict | set):
            detail = f"a {type(raw).__name__} instead of one label; see data.multi_label"
            raise LabelError("unknown_label", detail)
        return (self._name(raw),)

    def _parts(self, raw: object) -> list[object]:
        """The single values in the cell of a text with any number of labels."""
        if label_name(raw) is None:
            return []
        if isinstance(raw, list | tuple | set):
            return [part for part in raw if label_name(part) is not None]
        if isinstance(raw, dict):
            raise LabelError("unknown_label", "a dict instead of a list of labels")
        if not isinstance(raw, str):
            return [raw]
        if self.rule.delimiter is None:
            raise LabelError("unknown_label", f"{raw} is not a list; set data.label_delimiter")
        return [part for part in raw.split(self.rule.delimiter) if part.strip()]

    def _name(self, raw: object) -> str:
        if self.rule.thresholds is not None:
            name = self._class_of_number(raw, self.rule.thresholds)
        else:
            plain = label_name(raw)
            if plain is None:
                raise LabelError("missing_label")
            name = self._lookup.get(plain, plain)
        if self.declared is not None and name not in self.declared:
            raise LabelError("unknown_label", f"{name} is none of {_list(self.declared)}")
        return name

    def _class_of_number(self, raw: object, thresholds: tuple[float, ...]) -> str:
        if label_name(raw) is None:
            raise LabelError("missing_label")
        try:
            number = float(str(raw))
        except ValueError as error:
            raise LabelError("unknown_label", f"{raw} is not a number") from error
        names = self.rule.declared() or ()
        return names[bisect_left(thresholds, number)]


def _lookup(rule: LabelRule) -> dict[str, str]:
    """From the plain name of a raw value to the label's declared spelling."""
    names = rule.declared() or ()
    spelled = {label_name(name) or "": name for name in names}
    if rule.values is not None:
        return spelled | {label_name(raw) or "": name for raw, name in rule.values.items()}
    if any(_WHOLE_NUMBER.fullmatch(name) for name in spelled):
        return spelled
    return spelled | {str(index): name for index, name in enumerate(names)}


def _list(names: Iterable[str]) -> str:
    shown = list(names)
    return ", ".join(shown[:_SHOWN]) + (", ..." if len(shown) > _SHOWN else "")

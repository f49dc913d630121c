"""Which runs of many are wanted, and in which order."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from textmill.browse.entries import FACTS, Entry
from textmill.errors import InputError, did_you_mean
from textmill.model.metric_names import LOWER_IS_BETTER

_FORM = re.compile(
    r"\s*(?P<key>[^=<>!\s][^=<>!]*?)\s*(?P<sign><=|>=|!=|=|<|>)\s*(?P<value>.*?)\s*", re.DOTALL
)
_ORDERS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ALSO_LOWER = frozenset({"seconds", "peak_memory_bytes"})


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on runs.

    Args:
        key: Of the configuration, ``state``, ``group``, ``trial``, or the name of a metric.
        sign: One of ``=``, ``!=``, ``<``, ``<=``, ``>``, ``>=``.
        value: What it is compared with, as it was typed.
    """

    key: str
    sign: str
    value: str

    def accepts(self, entry: Entry) -> bool:
        """Whether a run meets the condition; one that lacks the key only meets ``!=``."""
        found = entry.metrics.get(self.key, entry.value(self.key))
        if self.sign in _ORDERS:
            return _is_number(found) and _ORDERS[self.sign](float(found), float(self.value))
        return _equal(found, self.value) == (self.sign == "=")


def parse_filter(given: str) -> Filter:
    """Reads a condition as it was typed.

    Raises:
        InputError: It is none, or orders what is not a number.
    """
    match = _FORM.fullmatch(given)
    if match is None:
        raise InputError(
            f"{given!r} is no filter",
            where="--filter",
            hint="give KEY=VALUE, KEY!=VALUE, or METRIC>NUMBER or METRIC<NUMBER in quotes",
        )
    condition = Filter(match["key"], match["sign"], match["value"])
    if condition.sign in _ORDERS and _as_number(condition.value) is None:
        raise InputError(
            f"{condition.value!r} is not a number",
            where=f"--filter '{given}'",
            hint=f"compare with a number, or use {condition.key}=VALUE",
        )
    return condition


def filtered(entries: Sequence[Entry], conditions: Sequence[Filter]) -> list[Entry]:
    """The runs that meet all conditions.

    Raises:
        InputError: A key or metric is one that no run has; all such at once.
    """
    metrics = _known_metrics(entries)
    known = _known_keys(entries) | metrics
    problems = [
        InputError(
            f"no run has a key or metric {condition.key!r}",
            where="--filter",
            hint=did_you_mean(condition.key, _known_keys(entries) | set(_usual(metrics))),
        )
        for condition in conditions
        if entries and condition.key not in known
    ]
    if problems:
        raise InputError.all_of(problems)
    return [entry for entry in entries if all(one.accepts(entry) for one in conditions)]


def best_first(entries: Sequence[Entry], metric: str) -> list[Entry]:
    """The runs by a metric, the best first, and those without it last."""
    worst = math.inf

    def rank(entry: Entry) -> float:
        value = entry.metrics.get(metric)
        if value is None:
            return worst
        return value if lower_is_better(metric) else -value

    return sorted(entries, key=rank)


def check_metrics(entries: Sequence[Entry], metrics: Sequence[str], flag: str) -> None:
    """Makes sure that there are such metrics.

    Args:
        entries: All runs.
        metrics: Names as in ``metrics.json``.
        flag: Where they were given.

    Raises:
        InputError: No run has one of them.
    """
    known = _known_metrics(entries)
    problems = [
        InputError(
            f"no run has a metric {name!r}", where=flag, hint=did_you_mean(name, set(_usual(known)))
        )
        for name in metrics
        if entries and name not in known
    ]
    if problems:
        raise InputError.all_of(problems)


def lower_is_better(metric: str) -> bool:
    """Whether a number of ``metrics.json`` is better when it is lower."""
    parts = metric.split("/")
    own = parts[2:] if parts[0] == "baseline" else parts[1:]
    return bool({*own[:1]} & (LOWER_IS_BETTER | _ALSO_LOWER)) or metric.endswith("_p_value")


def _known_keys(entries: Sequence[Entry]) -> set[str]:
    keys = {key for entry in entries for key in entry.config}
    groups = {key.removesuffix(".name") for key in keys if key.endswith(".name")}
    return {*FACTS} | keys | groups


def _known_metrics(entries: Sequence[Entry]) -> set[str]:
    return {name for entry in entries for name in entry.metrics}


def _usual(metrics: Iterable[str]) -> Iterator[str]:
    """Those to suggest: not the baselines', nor the ends of intervals."""
    for name in metrics:
        if not name.startswith("baseline/") and not name.endswith(("_low", "_high")):
            yield name


def _equal(found: object, given: str) -> bool:
    """Whether a value is the one that was typed; of a list, whether it is one of its elements."""
    if isinstance(found, list):
        return any(_equal(element, given) for element in found)
    if found is None or isinstance(found, bool):
        return given.casefold() == {None: "null", True: "true", False: "false"}[found]
    number = _as_number(given)
    if _is_number(found) and number is not None:
        return found == number
    return str(found) == given


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_number(given: str) -> float | None:
    try:
        return float(given)
    except ValueError:
        return None

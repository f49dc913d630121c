"""What a search varies: the settings, between which values, and when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from textmill.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from optuna.trial import Trial

Value = bool | int | float | str | None
Values = dict[str, Value]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A setting that a search varies.

    Args:
        key: The configuration's key, or the group of which choices are tried.
        choices: The values to choose from; None takes a range.
        low: The lowest value of the range.
        high: The highest one.
        log: Whether the range is searched by orders of magnitude.
        step: The distance between the values of the range; None takes any.
        whole: Whether the values of the range are whole numbers.
        when: Of other parameters, the values with which this one is needed; without them it keeps
            its default.
    """

    key: str
    choices: tuple[Value, ...] | None = None
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None
    whole: bool = False
    when: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)

    @property
    def extremes(self) -> tuple[Value, ...]:
        """The values that stand for all: the choices, or the ends of the range."""
        return self.choices if self.choices is not None else (self.low, self.high)

    @property
    def listed(self) -> tuple[Value, ...] | None:
        """All values, in their order, or None where there is no end of them."""
        if self.choices is not None:
            return self.choices
        step = 1 if self.whole and self.step is None and not self.log else self.step
        if step is None or self.low is None or self.high is None:
            return None
        count = int((self.high - self.low) / step + 1e-9) + 1
        return tuple(self.low + number * step for number in range(count))

    def is_needed(self, chosen: Mapping[str, Value]) -> bool:
        """Whether this parameter matters beside those that are chosen already."""
        return all(
            other in chosen and _is_among(chosen[other], values)
            for other, values in self.when.items()
        )

    def holds(self, value: Value) -> bool:
        """Whether a value is one of its choices, or within its range."""
        if self.choices is not None:
            return _is_among(value, self.choices)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if self.whole and not isinstance(value, int):
            return False
        return (self.low or 0) <= value <= (self.high or 0)

    def suggested(self, trial: Trial) -> Value:
        """The value that is proposed for a trial, or was."""
        if self.choices is not None:
            value: Value = trial.suggest_categorical(self.key, self.choices)
            return value
        low, high = self.low or 0, self.high or 0
        if not self.whole:
            return trial.suggest_float(self.key, low, high, step=self.step, log=self.log)
        step = int(self.step or 1)
        return trial.suggest_int(self.key, int(low), int(high), step=step, log=self.log)

    def problems(self) -> Iterator[InputError]:
        """What is wrong with it, as far as that can be seen without a configuration."""
        ranged = (self.low, self.high, self.step)
        if (self.choices is None) == (self.low is None and self.high is None):
            yield self._wrong("give either choices or low and high")
        elif self.choices is not None:
            if any(end is not None for end in ranged) or self.log:
                yield self._wrong("choices have no low, high, step or log")
            if not self.choices:
                yield self._wrong("give at least one choice")
            if len({repr(choice) for choice in self.choices}) < len(self.choices):
                yield self._wrong("a choice is given twice")
        elif self.low is None or self.high is None:
            yield self._wrong("give both low and high")
        else:
            yield from self._range_problems(self.low, self.high)

    def _range_problems(self, low: float, high: float) -> Iterator[InputError]:
        if low > high:
            yield self._wrong(f"low ({low}) must not exceed high ({high})")
        if self.log and low <= 0:
            yield self._wrong(f"with log, low ({low}) must be greater than 0")
        if self.step is not None and self.step <= 0:
            yield self._wrong(f"step ({self.step}) must be greater than 0")
        if self.step is not None and self.log:
            yield self._wrong("give step or log, not both")

    def _wrong(self, hint: str) -> InputError:
        return InputError("the range is wrong", where=f"sweep.space.{self.key}", hint=hint)


def space_problems(space: Sequence[Parameter]) -> Iterator[InputError]:
    """What is wrong with a space, as far as that can be seen without a configuration."""
    by_key = {parameter.key: parameter for parameter in space}
    for parameter in space:
        yield from parameter.problems()
        for other, values in parameter.when.items():
            where = f"sweep.space.{parameter.key}.when"
            if other not in by_key:
                what = f"{other!r} is not searched"
                yield InputError(what, where=where, hint=did_you_mean(other, by_key))
                continue
            choices = by_key[other].choices
            unknown = [one for one in values if choices and not _is_among(one, choices)]
            for one in unknown:
                hint = f"choose among {', '.join(map(str, choices or ()))}"
                yield InputError(f"{other} is never {one}", where=where, hint=hint)
    for key in _in_circles(by_key):
        yield InputError(
            f"{key} depends on itself",
            where=f"sweep.space.{key}.when",
            hint="take one of the conditions away",
        )


def first_problems(
    first: Sequence[Mapping[str, Value]], space: Sequence[Parameter]
) -> Iterator[InputError]:
    """What is wrong with the settings that a search is to begin with."""
    by_key = {parameter.key: parameter for parameter in space}
    for number, settings in enumerate(first):
        where = f"sweep.first.{number}"
        for key, value in settings.items():
            if key not in by_key:
                what = f"{key!r} is not searched"
                yield InputError(what, where=where, hint=did_you_mean(key, by_key))
            elif not by_key[key].holds(value):
                hint = "give one of its choices, or a number of its range"
                yield InputError(f"{key} is never {value}", where=where, hint=hint)


def in_order(space: Sequence[Parameter]) -> tuple[Parameter, ...]:
    """The parameters, each behind those that its conditions ask for."""
    ordered: list[Parameter] = []
    waiting = list(space)
    while waiting:
        placed = {parameter.key for parameter in ordered}
        free = next(one for one in waiting if placed.issuperset(one.when))
        ordered.append(free)
        waiting.remove(free)
    return tuple(ordered)


def combinations(space: Sequence[Parameter]) -> list[Values]:
    """Every combination of a space's values; conditions leave none twice.

    Args:
        space: Parameters whose values are `Parameter.listed`, in order.
    """
    found: list[Values] = [{}]
    for parameter in space:
        found = [
            {**chosen, parameter.key: value} if needed else chosen
            for chosen in found
            for needed in (parameter.is_needed(chosen),)
            for value in ((parameter.listed or ()) if needed else (None,))
        ]
    return found


def _in_circles(by_key: Mapping[str, Parameter]) -> list[str]:
    """The parameters whose conditions lead back to themselves."""

    def reached(key: str) -> set[str]:
        seen: set[str] = set()
        frontier = [key]
        while frontier:
            frontier = [
                other
                for one in frontier
                for other in by_key[one].when
                if other in by_key and other not in seen
            ]
            seen.update(frontier)
        return seen

    return [key for key in by_key if key in reached(key)]


def _is_among(value: Value, values: Sequence[Value]) -> bool:
    """Whether a value is one of several; 1 is not true."""
    return any(type(value) is type(one) and value == one for one in values)

"""What a search makes as high, or as low, as it can."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from textmill.errors import InputError, did_you_mean
from textmill.model.metric_names import metric_names, monitor_mode
from textmill.report.search_record import Objective

LATENCY = "latency_ms"
PARAMETERS = "parameters"
VALIDATION = "validation/"
# What is less the better, beside the metrics of the validation split.
COSTS = (LATENCY, PARAMETERS, "train/seconds")


def objectives_of(names: Sequence[str], *, multi_label: bool) -> tuple[Objective, ...]:
    """The objectives with these names, each with its direction."""
    return tuple(
        Objective(name, name not in COSTS and _is_maximized(name, multi_label)) for name in names
    )


def objective_problems(
    names: Sequence[str], pruner: str, *, multi_label: bool
) -> Iterator[InputError]:
    """What is wrong with objectives."""
    known = [f"{VALIDATION}{name}" for name in metric_names(multi_label=multi_label)]
    unknown = [one for one in names if one not in COSTS and not _exists(one, multi_label)]
    for name in unknown:
        near = f"{VALIDATION}{name.rpartition('/')[2]}"
        hint = f"did you mean {near}?" if near in known else did_you_mean(name, [*known, *COSTS])
        yield InputError(f"there is no objective {name!r}", where="sweep.objectives", hint=hint)
    if len(set(names)) < len(names):
        hint = "give each once"
        yield InputError("an objective is given twice", where="sweep.objectives", hint=hint)
    if pruner == "none":
        return
    if len(names) > 1:
        yield InputError(
            "a trial with several objectives can't be pruned",
            where=f"sweep.pruner={pruner}",
            hint="set sweep.pruner=none, or leave one objective",
        )
    elif names[0] in COSTS:
        yield InputError(
            f"{names[0]} is known only when a trial has ended, so none can be pruned",
            where=f"sweep.pruner={pruner}",
            hint="set sweep.pruner=none",
        )


def monitored(names: Sequence[str]) -> str | None:
    """The validation metric that decides which of a trial's checkpoints is the best, if any."""
    metrics = (name for name in names if name.startswith(VALIDATION))
    return next((name.removeprefix(VALIDATION) for name in metrics), None)


def values_of(metrics: Mapping[str, float], objectives: Sequence[Objective]) -> list[float]:
    """The objectives' values among a run's metrics.

    Raises:
        InputError: One is missing.
    """
    missing = [one.name for one in objectives if one.name not in metrics]
    if missing:
        raise InputError(
            f"{' and '.join(missing)} can't be had from the run",
            hint="choose another objective, or a split with examples of every label",
        )
    return [float(metrics[one.name]) for one in objectives]


def _exists(name: str, multi_label: bool) -> bool:
    try:
        _is_maximized(name, multi_label)
    except InputError:
        return False
    return name.startswith(VALIDATION)


def _is_maximized(name: str, multi_label: bool) -> bool:
    return monitor_mode(name.removeprefix(VALIDATION), multi_label=multi_label) == "max"

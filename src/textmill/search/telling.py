"""A search in lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from textmill.report.search_record import Objective, SearchRecord, TrialRecord


def trial_line(record: SearchRecord, number: int, error: str | None) -> str:
    """A trial that has ended: what was chosen, what it brought, and the best so far."""
    [trial] = (one for one in record.trials if one.number == number)
    parts = [f"trial {number}", _outcome(trial, record.objectives, error)]
    if trial.parameters:
        parts.append(_settings(trial.parameters))
    if len(record.objectives) > 1:
        parts.append(f"{len(record.best)} that none is better than")
    else:
        parts += [
            f"best {shown(best.values[0])} (trial {best.number})"
            for best in record.trials
            if best.number in record.best and best.values
        ]
    return " | ".join(parts)


def summary_line(record: SearchRecord) -> str:
    """How many trials ended how."""
    counts = {
        state: sum(trial.state == state for trial in record.trials)
        for state in ("finished", "pruned", "failed", "running")
    }
    told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return f"search {record.name}: {len(record.trials)} trials, {told or 'none'}"


def best_lines(record: SearchRecord) -> Iterator[str]:
    """The best trial, or each of those that no other is better than in every respect."""
    for trial in record.trials:
        if trial.number in record.best:
            yield f"best     trial {trial.number} | {_outcome(trial, record.objectives, None)}"
            yield f"         {_settings(trial.parameters)}"


def shown(value: object) -> str:
    """A value as people read it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _outcome(trial: TrialRecord, objectives: Sequence[Objective], error: str | None) -> str:
    if trial.values is not None:
        pairs = zip(objectives, trial.values, strict=True)
        return ", ".join(f"{objective.name} {shown(value)}" for objective, value in pairs)
    if trial.state == "pruned" and trial.intermediate:
        step, value = max(trial.intermediate.items())
        return f"pruned after {step} steps at {shown(value)}"
    return f"{trial.state}: {error}" if error else trial.state


def _settings(parameters: Mapping[str, object]) -> str:
    return ", ".join(f"{key} {shown(value)}" for key, value in parameters.items())

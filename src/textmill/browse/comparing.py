"""Compares runs that were judged on the same examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from textmill.errors import InputError
from textmill.labels import Labels
from textmill.model.metric_names import metric_names
from textmill.model.statistics import Verdict, paired_tests
from textmill.report.record import RunRecord
from textmill.report.results import compared_estimates, titled
from textmill.report.tables import Estimate, Kind, TableView, view_of
from textmill.runs import Run
from textmill.tracking.charts import learning_charts
from textmill.tracking.prediction_columns import label_ids
from textmill.tracking.shapes import Chart, LineChart, Series

# Of the resampling, so that the same comparison says the same.
_SEED = 0
_COST = {
    "Training, seconds": "train/seconds",
    "Training, examples per second": "train/examples_per_second",
    "Optimizer steps to the best": "train/best_step",
}
# What learning curves are drawn of: the chart and its series, and how it is called here.
_CURVES = {
    "validation_f1": ("quality", "f1_macro", "Macro-F1 on the validation split", "macro-F1"),
    "validation_loss": (
        "loss",
        "validation",
        "Loss on the validation split",
        "cross-entropy (nats)",
    ),
    "training_loss": ("loss", "training", "Loss in training", "cross-entropy (nats)"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """Where two runs decide differently.

    Args:
        first: The name of the run that is compared with.
        second: The name of the run that is compared.
        fixed: Rows that only the second has right, the greatest gain first.
        broken: Rows that only the first has right, the greatest loss first.
        otherwise_wrong: How many examples both have wrong, in different ways.
    """

    first: str
    second: str
    fixed: npt.NDArray[np.intp]
    broken: npt.NDArray[np.intp]
    otherwise_wrong: int


@dataclass(frozen=True, slots=True, eq=False)
class RunComparison:
    """Runs side by side.

    Args:
        names: What tells the runs apart.
        records: The runs; the others are compared with the first.
        split: The split that all were judged on.
        verdicts: Of each other run against the first.
        changes: The same, example by example.
    """

    names: tuple[str, ...]
    records: tuple[RunRecord, ...]
    split: str
    verdicts: tuple[Verdict, ...]
    changes: tuple[Changes, ...]

    @property
    def labels(self) -> Labels:
        """The label set, that of the first run."""
        return self.records[0].labels

    def predictions(self, index: int) -> pa.Table:
        """A run's predictions on the split."""
        return self.records[index].predictions[self.split]


def compare_runs(runs: Sequence[Run]) -> RunComparison:
    """Compares runs with the first of them.

    Raises:
        InputError: There are fewer than two runs, one was not judged, or they were judged on
            different data.
    """
    if len({run.folder for run in runs}) != len(runs) or len(runs) < 2:
        raise InputError(
            "two runs or more are needed, all different", where="textmill runs compare"
        )
    _check_judged(runs)
    records = tuple(RunRecord.of(run) for run in runs)
    for first, second in pairwise(records):
        _check_same_data(first, second)
    names = distinct_names(runs)
    split, tables = records[0].judged, [record.predictions[record.judged] for record in records]
    others = range(1, len(records))
    return RunComparison(
        names,
        records,
        split,
        tuple(
            _verdict((names[index], names[0]), (tables[index], tables[0]), records[0].labels)
            for index in others
        ),
        tuple(_changes((names[0], names[index]), (tables[0], tables[index])) for index in others),
    )


def distinct_names(runs: Sequence[Run]) -> tuple[str, ...]:
    """The shortest names that tell runs apart: their own, or those of their folders."""
    choices = [
        [str(run.read_manifest().get("name")) for run in runs],
        [run.folder.name for run in runs],
        [f"{run.folder.parent.name}/{run.folder.name}" for run in runs],
        [str(run.folder) for run in runs],
    ]
    return tuple(next(names for names in choices if len(set(names)) == len(runs)))


def metrics_view(comparison: RunComparison) -> TableView:
    """The metrics of all runs on the split, the best of each marked, and what they cost."""
    places = [str(index) for index in range(len(comparison.records))]
    merged = {
        f"{place}/{name.removeprefix(f'{comparison.split}/')}": value
        for place, record in zip(places, comparison.records, strict=True)
        for name, value in record.metrics.items()
        if name.startswith(f"{comparison.split}/")
    }
    rows: list[list[object]] = [
        [titled(name), *compared_estimates(merged, name, places)]
        for name in metric_names(multi_label=comparison.labels.multi_label)
        if any(f"{place}/{name}" in merged for place in places)
    ]
    for title, name in _COST.items():
        values = [record.metrics.get(name) for record in comparison.records]
        rows.append([title, *(None if value is None else Estimate(value) for value in values)])
    columns: dict[str, Kind] = {"Metric": "name"}
    columns |= {_heading(name): "estimate" for name in comparison.names}
    return view_of("Metrics", columns, rows)


def changed_view(
    comparison: RunComparison, changes: Changes, rows: npt.NDArray[np.intp]
) -> TableView:
    """Examples with what both runs say of them.

    Args:
        comparison: The runs.
        changes: Of which two of them.
        rows: The examples, as `Changes` has them.
    """
    first = comparison.predictions(comparison.names.index(changes.first))
    second = comparison.predictions(comparison.names.index(changes.second))
    kind: Kind = "names" if comparison.labels.multi_label else "name"
    sides = [name for name in ("text", "text_pair") if name in first.column_names]
    columns: dict[str, Kind] = {
        "Text" if side == "text" else "Second text": "text" for side in sides
    }
    columns |= dict.fromkeys(("Label", *map(_heading, (changes.first, changes.second))), kind)
    cells = [first[side] for side in sides]
    cells += [first["label"], first["prediction"], second["prediction"]]
    shown = [cell.take(pa.array(rows)).to_pylist() for cell in cells]
    return view_of("Examples", columns, list(zip(*shown, strict=True)))


def overlaid_curves(comparison: RunComparison) -> dict[str, LineChart]:
    """The learning curves of all runs, in the same charts."""
    charts = [learning_charts(record.history, record.training) for record in comparison.records]
    overlaid = {}
    for key, (chart, name, title, y_label) in _CURVES.items():
        series = tuple(
            Series(run, one.x, one.y)
            for run, found in zip(comparison.names, charts, strict=True)
            for one in _series(found, chart)
            if one.name == name
        )
        if series:
            overlaid[key] = LineChart(title, "optimizer step", y_label, series)
    return overlaid


def _heading(name: str) -> str:
    return f"run {name}"


def _series(charts: Mapping[str, Chart], name: str) -> tuple[Series, ...]:
    chart = charts.get(name)
    return chart.series if isinstance(chart, LineChart) else ()


def _check_judged(runs: Sequence[Run]) -> None:
    problems = [
        InputError(
            "the run has not been judged, so there is nothing to compare",
            where=str(run.folder),
            hint="choose finished runs; textmill runs list shows them",
        )
        for run in runs
        if not _is_judged(run)
    ]
    if problems:
        raise InputError.all_of(problems)


def _is_judged(run: Run) -> bool:
    judged = run.read_manifest().get("judged")
    return judged is not None and run.metrics.exists() and run.predictions(judged).exists()


def _check_same_data(first: RunRecord, second: RunRecord) -> None:
    """Makes sure that two runs were judged on the same examples, in the same order."""
    folders = f"{first.run.folder} and {second.run.folder}"
    if first.judged != second.judged:
        raise InputError(
            f"one run was judged on {first.judged}, the other on {second.judged}",
            where=folders,
            hint="compare runs of the same data",
        )
    if set(first.labels.names) != set(second.labels.names):
        raise InputError(
            "the runs have different labels", where=folders, hint="compare runs of the same data"
        )
    split = first.judged
    prints = [one.manifest["data"]["fingerprints"].get(split) for one in (first, second)]
    tables = [one.predictions[split] for one in (first, second)]
    columns = [name for name in ("text", "text_pair", "label") if name in tables[0].column_names]
    if prints[0] != prints[1] or not tables[0].select(columns).equals(tables[1].select(columns)):
        raise InputError(
            f"the runs were judged on different data: their {split} splits differ",
            where=folders,
            hint="compare runs of the same data; textmill runs diff shows what differs",
        )


def _verdict(names: tuple[str, str], tables: tuple[pa.Table, pa.Table], labels: Labels) -> Verdict:
    targets = label_ids(tables[0]["label"], labels)
    decisions = [label_ids(table["prediction"], labels) for table in tables]
    first, second = map(_heading, names)
    return Verdict(
        first, second, paired_tests(targets, decisions[0], decisions[1], labels, seed=_SEED)
    )


def _changes(names: tuple[str, str], tables: tuple[pa.Table, pa.Table]) -> Changes:
    right = [table["correct"].to_numpy().astype(bool) for table in tables]
    losses = [table["loss"].to_numpy().astype(np.float64) for table in tables]
    better = losses[0] - losses[1]
    first, second = (table["prediction"].to_pylist() for table in tables)
    differ = np.array([one != other for one, other in zip(first, second, strict=True)], dtype=bool)
    return Changes(
        *names,
        fixed=_by(-better, ~right[0] & right[1]),
        broken=_by(better, right[0] & ~right[1]),
        otherwise_wrong=int((~right[0] & ~right[1] & differ).sum()),
    )


def _by(order: npt.NDArray[np.float64], which: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    rows = np.flatnonzero(which)
    return rows[np.argsort(order[rows], kind="stable")]

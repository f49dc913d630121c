"""Whether a run may be released: it must not be worse than the bundle that was released before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from textmill.bundle import Bundle, read_bundle
from textmill.errors import InputError, make_all
from textmill.labels import Labels
from textmill.model.metric_names import LOWER_IS_BETTER, monitor_mode
from textmill.model.metrics import classification_metrics
from textmill.model.statistics import Interval, paired_interval, paired_tests
from textmill.predictor import Predictor
from textmill.report.record import RunRecord
from textmill.runs import Run
from textmill.scoring import Scores
from textmill.tracking.prediction_columns import label_ids, label_probabilities, texts_of
from textmill.verification import verify_quickly

# What both are judged on: no example of it has had a say in either model.
SPLIT = "test"
# Of the resampling, so that the same comparison says the same.
_SEED = 0

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Standing:
    """How good the new model is by one metric, and how much better than the released one.

    Args:
        metric: The name of the metric.
        new: The new model's value.
        released: The released model's value; None if nothing was released yet.
        gain: The 95% interval of what the new model gains, which is positive where it is better;
            None if nothing was released yet.
    """

    metric: str
    new: float
    released: float | None = None
    gain: Interval | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a run may be released, and why.

    Args:
        examples: How many examples it was judged on.
        standings: By each metric; the first one decides, the others are told.
        margin: The loss that is tolerated.
    """

    examples: int
    standings: tuple[Standing, ...]
    margin: float

    @property
    def blocked(self) -> bool:
        """Whether even the upper end of the interval is a loss greater than the margin."""
        gain = self.standings[0].gain
        return gain is not None and gain.high < -self.margin


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """What a model said of the test examples.

    Args:
        targets: Label ids ``[examples]``, or 0 and 1 ``[examples, labels]`` for several labels.
        decisions: What was predicted, shaped like the targets.
        probabilities: ``[examples, labels]``.
        labels: The label set, that of the new model.
    """

    targets: Integers
    decisions: Integers
    probabilities: Scores
    labels: Labels

    def metrics(self) -> dict[str, float]:
        return classification_metrics(
            self.targets, self.probabilities, self.labels, decisions=self.decisions
        )

    def measure(self, metric: str) -> Callable[[npt.NDArray[np.integer]], float]:
        """Gives a metric on some of the examples."""

        def measured(rows: npt.NDArray[np.integer]) -> float:
            part = _Judged(
                self.targets[rows], self.decisions[rows], self.probabilities[rows], self.labels
            )
            return part.metrics().get(metric, float("nan"))

        return measured


def decide_release(run: Run, released: str | Path | None, *, margin: float = 0.0) -> Decision:
    """Compares a run with the bundle that was released before, on the run's test examples.

    The metric that chose the run's checkpoint decides, by the 95% interval of the paired bootstrap.

    Args:
        run: The run; its predictions on the test examples are those that it was judged by.
        released: The released bundle's folder, which is scored here; None if there is none.
        margin: The loss that is tolerated, in the unit of the metric.

    Raises:
        InputError: The run is not finished, was not judged on a test split, or its bundle isn't the
            one that was judged; or the released bundle is broken, or has other labels, texts or
            test examples.
    """
    record = RunRecord.of(run)
    bundle = None if released is None else read_bundle(released)
    _check_run(record)
    new = _of_run(record)
    metric = _decisive(record, new)
    shown = dict.fromkeys((metric, _accuracy(record.labels), "f1_macro"))
    values = new.metrics()
    if bundle is None:
        standings = [Standing(name, values[name]) for name in shown]
    else:
        _check_same_task(record, bundle)
        old = _of_bundle(bundle, record)
        before, gains = old.metrics(), _gains(new, old, metric)
        standings = [Standing(name, values[name], before[name], gains[name]) for name in shown]
    return Decision(len(new.targets), tuple(standings), margin)


def _check_run(record: RunRecord) -> None:
    where = str(record.run.folder)
    if record.manifest.get("state") != "finished":
        raise InputError("the run is not finished", where=where, hint="choose a finished run")
    if SPLIT not in record.predictions:
        raise InputError(
            "the run was not judged on test examples", where=where, hint="train with a test split"
        )
    weights = read_bundle(record.run.bundle).info.fingerprints.get("weights")
    if weights is None or weights != record.manifest.get("weights"):
        raise InputError(
            "the bundle is not the one that the run has judged", where=where, hint="train again"
        )


def _check_same_task(record: RunRecord, bundle: Bundle) -> None:
    make_all(
        (
            lambda: _check_labels(record, bundle),
            lambda: _check_texts(record, bundle),
            lambda: _check_test_data(record, bundle),
        )
    )


def _check_labels(record: RunRecord, bundle: Bundle) -> None:
    new, old = record.labels, bundle.labels
    if (set(new.names), new.multi_label) != (set(old.names), old.multi_label):
        raise InputError(
            "the released bundle has other labels than the run",
            where=str(bundle.folder),
            hint="compare what has the same labels, or release without --against",
        )


def _check_texts(record: RunRecord, bundle: Bundle) -> None:
    pairs = "text_pair" in record.predictions[SPLIT].column_names
    if pairs != (len(bundle.info.text_columns) == 2):
        raise InputError(
            "one of run and released bundle labels single texts, the other pairs",
            where=str(bundle.folder),
            hint="compare what labels the same texts, or release without --against",
        )


def _check_test_data(record: RunRecord, bundle: Bundle) -> None:
    """Makes sure that the released model was judged on these examples, and so hasn't seen them."""
    old = bundle.info.fingerprints.get(f"data/{SPLIT}")
    if old is None or old != record.manifest["data"]["fingerprints"].get(SPLIT):
        raise InputError(
            "the released bundle was not judged on the run's test examples, and may have been "
            "trained on them",
            where=str(bundle.folder),
            hint="train on the same splits, or release without --against",
        )


def _decisive(record: RunRecord, new: _Judged) -> str:
    metric = record.run.read_monitor()
    if metric is None:
        raise InputError(
            "the run doesn't say which metric chose its checkpoint",
            where=str(record.run.config),
            hint="is the run whole?",
        )
    monitor_mode(metric, multi_label=record.labels.multi_label)
    if metric not in new.metrics():
        raise InputError(
            f"{metric} is undefined on the test examples",
            where=str(record.run.folder),
            hint="train with another trainer.monitor",
        )
    return metric


def _of_run(record: RunRecord) -> _Judged:
    table, labels = record.predictions[SPLIT], record.labels
    return _Judged(
        label_ids(table["label"], labels),
        label_ids(table["prediction"], labels),
        label_probabilities(table, labels),
        labels,
    )


def _of_bundle(bundle: Bundle, record: RunRecord) -> _Judged:
    """Scores the run's examples with a bundle; labels are then in the order of the run's."""
    # Both models as they were trained: what other forms may cost was proved when they were made.
    predictor = Predictor.of(bundle, form="torch")
    verify_quickly(predictor)
    table, labels = record.predictions[SPLIT], record.labels
    probabilities = predictor.probabilities(texts_of(table))
    kind = pa.list_(pa.string()) if labels.multi_label else pa.string()
    decided = pa.chunked_array([pa.array(bundle.decide(probabilities), kind)])
    order = [bundle.labels.label2id[name] for name in labels.names]
    return _Judged(
        label_ids(table["label"], labels),
        label_ids(decided, labels),
        probabilities[:, order],
        labels,
    )


def _gains(new: _Judged, old: _Judged, metric: str) -> dict[str, Interval]:
    """The intervals of what the new model gains: by accuracy, macro-F1, and the metric."""
    tests = paired_tests(new.targets, new.decisions, old.decisions, new.labels, seed=_SEED)
    gains = {name: difference.interval for name, difference in tests.items()}
    if metric not in gains:
        better, worse = (old, new) if metric in LOWER_IS_BETTER else (new, old)
        gains[metric] = paired_interval(
            better.measure(metric), worse.measure(metric), len(new.targets), seed=_SEED
        )
    return gains


def _accuracy(labels: Labels) -> str:
    return "subset_accuracy" if labels.multi_label else "accuracy"

"""What came out of a training: judged, written down, printed, and shown to trackers."""

from __future__ import annotations

import sys

import pyarrow.parquet as pq
from rich.console import Console

from textmill.attribution import worst_attributions, write_mistakes
from textmill.configuration.schema import TrainConfig
from textmill.data.examples import Examples
from textmill.environment import peak_memory
from textmill.errors import InputError
from textmill.fit import Fitted
from textmill.judge import (
    Comparison,
    Contender,
    Judged,
    compare,
    compare_table,
    flat_metrics,
    judge,
    sparse_targets_of,
    targets_of,
    texts_of,
    write_table,
)
from textmill.model.baselines import Baseline, train_baselines
from textmill.predictor import Predictor
from textmill.recipe import Encoder
from textmill.report.writing import write_report
from textmill.runs import Run, short_path, write_json
from textmill.tracking.mirror import Mirrors
from textmill.tracking.results import tell_results
from textmill.tracking.tables import write_tables


def judge_run(
    run: Run,
    config: TrainConfig,
    examples: Examples,
    predictor: Predictor,
    fitted: Fitted,
    *,
    told: bool = True,
) -> list[str]:
    """Judges the bundle, once, beside the baselines; writes and prints what comes out.

    Args:
        run: The run, with its bundle.
        config: Its configuration.
        examples: The data.
        predictor: The bundle, opened.
        fitted: How the training went.
        told: Whether the results are printed.

    Returns:
        The verdict, in sentences.
    """
    splits = {name: split for name, split in examples.splits.items() if name != "train"}
    judged = {
        name: judge(predictor, split, examples.labels, lengths=predictor.lengths(texts_of(split)))
        for name, split in splits.items()
    }
    for name, one in judged.items():
        write_table(run.predictions(name), one.predictions)
    final = "test" if "test" in judged else "validation"
    model = Contender("model", "the model", judged[final], fitted.seconds)
    baselines = [
        Contender(one.name, one.title, judge(one, splits[final], examples.labels), *_effort(one))
        for one in _baselines(config, examples)
    ]
    comparison = compare(model, baselines, seed=config.seed)
    write_json(run.metrics, _metrics(judged["validation"], final, comparison, fitted))
    results = [_headline(comparison, final), *(verdict.sentence for verdict in comparison.verdicts)]
    run.update_manifest(judged=final, results=results)
    if told:
        Console().print(compare_table(comparison))
        print("\n".join(results))
    return results


def show_run(
    run: Run,
    config: TrainConfig,
    encoder: Encoder,
    examples: Examples,
    predictor: Predictor,
    tracker: Mirrors,
    *,
    told: bool = True,
) -> None:
    """Writes tables and the report, tells the trackers, and says where everything is.

    Args:
        run: The run, judged.
        config: Its configuration.
        encoder: What it was trained from.
        examples: The data.
        predictor: The bundle, opened.
        tracker: The trackers.
        told: Whether it is printed where everything is.
    """
    tracking = config.tracking
    tokenizer, policy = encoder.tokenizer, encoder.policy
    write_tables(run, examples, tokenizer, policy, size=tracking.samples, seed=config.seed)
    _explain(run, predictor, tracking.explained)
    if tracking.report:
        write_report(run)
    tell_results(run, tracker, examples.labels)
    if told:
        _tell_places(run, report=tracking.report)


def _tell_places(run: Run, *, report: bool) -> None:
    print(f"\nrun      {short_path(run.folder)}")
    if report:
        print(f"report   {short_path(run.report)}")
    print(f'predict  textmill predict {short_path(run.bundle)} "a text"')


def _explain(run: Run, predictor: Predictor, count: int) -> None:
    """Writes why the worst mistakes were made, if the network can tell."""
    predictions = pq.read_table(run.predictions(run.read_manifest()["judged"]))
    try:
        write_mistakes(run.attributions, worst_attributions(predictor, predictions, count))
    except InputError as error:
        print(f"mistakes are not explained: {error}", file=sys.stderr)


def _baselines(config: TrainConfig, examples: Examples) -> list[Baseline]:
    if not config.baselines.enabled:
        return []
    train, validation = examples.splits["train"], examples.splits["validation"]
    of_train = sparse_targets_of if examples.labels.multi_label else targets_of
    return train_baselines(
        texts_of(train),
        of_train(train, examples.labels),
        texts_of(validation),
        targets_of(validation, examples.labels),
        examples.labels,
        seed=config.seed,
        max_examples=config.baselines.max_examples,
        monitor=config.trainer.monitor,
    )


def _effort(baseline: Baseline) -> tuple[float, str]:
    return baseline.seconds, baseline.note


def _metrics(
    validation: Judged, final: str, comparison: Comparison, fitted: Fitted
) -> dict[str, float]:
    """The content of ``metrics.json``."""
    return {
        **{f"validation/{name}": value for name, value in validation.metrics.items()},
        **flat_metrics(final, comparison),
        "train/steps": fitted.steps,
        "train/best_step": fitted.best_step,
        "train/seconds": fitted.seconds,
        "train/examples_per_second": fitted.examples_per_second,
        "train/peak_memory_bytes": peak_memory(),
    }


def _headline(comparison: Comparison, split: str) -> str:
    shown = ("accuracy", "subset_accuracy", "f1_macro", "mcc")
    metrics = comparison.contenders[0].judged.metrics
    values = [f"{name} {metrics[name]:.4f}" for name in shown if name in metrics]
    return f"On the {split} split: {', '.join(values)}."

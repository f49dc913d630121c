"""``textmill evaluate``: judges a bundle on any data set."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from datasets import Dataset, concatenate_datasets
from rich.console import Console

from textmill.bundle import read_bundle
from textmill.configuration.composing import Composed
from textmill.configuration.schema import EvaluateConfig
from textmill.data.examples import Examples
from textmill.errors import InputError
from textmill.judge import (
    Comparison,
    Contender,
    compare,
    compare_table,
    flat_metrics,
    judge,
    texts_of,
    write_table,
)
from textmill.labels import Labels
from textmill.predictor import Predictor
from textmill.recipe import examples_of, source_of, text_columns
from textmill.runs import check_writable, write_json
from textmill.tracking.slices import shown_slices, slice_table


def run(composed: Composed[EvaluateConfig]) -> None:
    """Judges a bundle on a split of a data set, prints the metrics, and writes them if asked to.

    Raises:
        InputError: The bundle or the data can't be used, or they don't fit together.
        MachineError: Something can't be fetched or written.
    """
    config = composed.config
    bundle = read_bundle(config.bundle)
    _check_fit(config, bundle.info.text_columns)
    if config.output is not None:
        check_writable(Path(config.output), "output folder", "output")
    examples, split = _examples(config, bundle.labels)
    _warn_of_seen(examples, bundle.info.fingerprints)
    predictor = Predictor.of(bundle, device=config.device, form=config.form)
    judged = judge(
        predictor,
        split,
        bundle.labels,
        thresholds=bundle.info.thresholds,
        lengths=predictor.lengths(texts_of(split)),
    )
    comparison = compare(Contender("model", "the model", judged), [], seed=config.seed)
    slices = slice_table(judged.predictions, bundle.labels)
    if config.output is not None:
        write_table(Path(config.output) / "predictions.parquet", judged.predictions)
        write_table(Path(config.output) / "slices.parquet", slices)
        write_json(Path(config.output) / "metrics.json", flat_metrics(config.split, comparison))
    _print(comparison, config)
    if config.data.slices:
        Console().print(shown_slices(slices))


def _check_fit(config: EvaluateConfig, trained_on: tuple[str, ...]) -> None:
    given = text_columns(config.data)
    if len(given) != len(trained_on):
        kinds = {1: "single texts", 2: "pairs of texts"}
        raise InputError(
            f"the bundle labels {kinds[len(trained_on)]}, and the data are {kinds[len(given)]}",
            where=f"data.text={config.data.text}",
            hint=f"give {len(trained_on)} column(s)",
        )


def _examples(config: EvaluateConfig, labels: Labels) -> tuple[Examples, Dataset]:
    """The examples, and those of them that are judged."""
    if config.split != "all":
        examples = examples_of(config.data, config.seed, needed=(config.split,), labels=labels)
        return examples, examples.splits[config.split]
    present = source_of(config.data.as_read()).splits()
    needed = present if len(present) > 1 else ("test",)
    examples = examples_of(
        config.data, config.seed, needed=needed, labels=labels, make_splits=False
    )
    return examples, concatenate_datasets(list(examples.splits.values()))


def _warn_of_seen(examples: Examples, fingerprints: Mapping[str, str]) -> None:
    """Says when the model has learned from the very examples it is judged on."""
    trained_on = fingerprints.get("data/train")
    for name, fingerprint in examples.fingerprints.items():
        if fingerprint == trained_on:
            print(
                f"the bundle was trained on this {name} split: its metrics say little",
                file=sys.stderr,
            )


def _print(comparison: Comparison, config: EvaluateConfig) -> None:
    (model,) = comparison.contenders
    Console().print(compare_table(comparison))
    for name, value in model.judged.metrics.items():
        print(f"{config.split}/{name} {value:.6f}")
    print(f"{len(model.judged.targets):,} examples of {config.data.name}", file=sys.stderr)

"""Checked examples in splits, and the folder that keeps them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from datasets import Dataset

from textmill.data.checks import Problem
from textmill.data.rows import SPLITS
from textmill.labels import Labels

_REPORT = "report.json"


@dataclass(frozen=True, slots=True)
class Examples:
    """Labelled texts that have passed the checks.

    Args:
        splits: Each split that was asked for, memory-mapped from disk, with the columns ``text``,
            ``text_pair`` (for pairs), ``label`` (the label's id; for multi-label a list of ids,
            which may be empty), ``place`` (where the row stands in the source), and for each column
            to slice by ``slice/COLUMN``, as text.
        labels: The label names in the order of their ids.
        problems: What was wrong and what was done about it; dropped rows are in no split.
        made: The splits that the source does not have, each with its ``method``, ``source`` split,
            ``share``, ``seed`` and ``count``.
        fingerprints: For each split a SHA-256 over its texts, pairs and label names, in order.
        corrections: How many rows people's corrections have given another label
            (``relabelled``), and how many they have thrown out (``left_out``); empty without
            corrections.
    """

    splits: dict[str, Dataset]
    labels: Labels
    problems: list[Problem]
    made: dict[str, dict[str, object]]
    fingerprints: dict[str, str]
    corrections: dict[str, int] = field(default_factory=dict)

    def as_record(self) -> dict[str, object]:
        """What a run writes down about its data, as plain values."""
        return {
            "labels": list(self.labels.names),
            "multi_label": self.labels.multi_label,
            "counts": {split: len(dataset) for split, dataset in self.splits.items()},
            "made": self.made,
            "problems": [problem.as_record() for problem in self.problems],
            "fingerprints": self.fingerprints,
            "corrections": self.corrections,
        }


def split_file(folder: Path, split: str) -> Path:
    """The Arrow file of a split."""
    return folder / f"{split}.arrow"


def write_report(
    folder: Path,
    labels: Labels,
    problems: Sequence[Problem],
    made: dict[str, dict[str, object]],
    fingerprints: dict[str, str],
    corrections: dict[str, int],
) -> None:
    """Writes what belongs to the splits in ``folder`` beside them."""
    report = {
        "labels": labels.names,
        "multi_label": labels.multi_label,
        "problems": [problem.as_record() for problem in problems],
        "made": made,
        "fingerprints": fingerprints,
        "corrections": corrections,
        "sizes": {split: split_file(folder, split).stat().st_size for split in fingerprints},
    }
    (folder / _REPORT).write_text(json.dumps(report, indent=1), encoding="utf-8")


def read_examples(folder: Path) -> Examples | None:
    """The examples that were written to ``folder``; None where they are not there, or not whole."""
    try:
        report = json.loads((folder / _REPORT).read_text(encoding="utf-8"))
        for split, size in report["sizes"].items():
            if split_file(folder, split).stat().st_size != size:
                return None
    except (OSError, ValueError):
        return None
    return Examples(
        splits={
            split: Dataset.from_file(str(split_file(folder, split)))
            for split in SPLITS
            if split in report["fingerprints"]
        },
        labels=Labels(tuple(report["labels"]), report["multi_label"]),
        problems=[Problem(**problem) for problem in report["problems"]],
        made=report["made"],
        fingerprints=report["fingerprints"],
        corrections=report["corrections"],
    )

"""The metrics of a split that is shared out to two processes are those of one process."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed

from textmill.labels import Labels
from textmill.model.metrics import SplitMetrics

Found = list[tuple[dict[str, float], np.ndarray, np.ndarray]]


def make_split(number: int, labels: Labels) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, some of which are tied, and targets, among which some labels are absent."""
    generator = np.random.default_rng(number)
    logits = generator.normal(size=(30 + number, len(labels))).astype(np.float32)
    if number % 2:
        logits = logits.round()
    present = generator.integers(1, len(labels) + 1)
    if labels.multi_label:
        targets = generator.random(logits.shape) < 0.4
        targets[:, present:] = False
    else:
        targets = generator.integers(0, present, len(logits))
    return torch.from_numpy(logits), torch.from_numpy(targets.astype(np.int64))


def judge_splits(labels: Labels, owned: list[bool]) -> Found:
    """Judges four splits, of whose every five examples this process has those owned."""
    metric = SplitMetrics(labels)
    found: Found = []
    for number in range(4):
        logits, targets = make_split(number, labels)
        metric.reset()
        for index in torch.arange(len(logits))[np.resize(owned, len(logits))].split(4):
            metric.update(index, logits[index], targets[index])
        found.append((metric.compute(), *metric.judged))
    return found


def judge_share(rank: int, meeting: Path, labels: Labels, answers: Any) -> None:  # noqa: ANN401
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    answers.put(judge_splits(labels, [rank == 0] * 4 + [rank == 1]))
    distributed.destroy_process_group()


@pytest.mark.parametrize("multi_label", [False, True])
def test_two_processes_with_uneven_shares_find_what_one_finds(
    multi_label: bool,
    tmp_path: Path,
) -> None:
    labels = Labels(("a", "b", "c", "d"), multi_label=multi_label)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    processes = [
        context.Process(target=judge_share, args=(rank, tmp_path / "meeting", labels, answers))
        for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    found = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(timeout=60)
    alone = judge_splits(labels, [True])
    for each in found:
        for (metrics, targets, probabilities), expected in zip(each, alone, strict=True):
            assert metrics == expected[0]
            assert np.array_equal(targets, expected[1])
            assert np.array_equal(probabilities, expected[2])

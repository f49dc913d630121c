"""The Lightning module computes the loss, the metrics of the whole split, and its own seeds."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from textmill.labels import Labels
from textmill.model.losses import ClassificationLoss
from textmill.model.module import Classifier, batch_seed
from textmill.model.optimizers import Optimization

LABELS = Labels(("bad", "good"))
OPTIMIZATION = Optimization(1e-3, 1e-2, 0.0, (0.9, 0.999), 1e-8, 1.0, "linear", 0.5, None)


class Echo(nn.Module):
    """A network whose logits are its inputs, scaled by a weight."""

    base_model_prefix = "encoder"

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, input_ids: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.weight * input_ids)


@pytest.fixture
def classifier(monkeypatch: pytest.MonkeyPatch) -> Classifier:
    module = Classifier(Echo(), ClassificationLoss(LABELS), LABELS, OPTIMIZATION, 4, seed=1)
    logged: dict[str, float] = {}
    monkeypatch.setattr(module, "log_dict", logged.update)
    monkeypatch.setattr(module, "logged", logged, raising=False)
    return module


def batch(logits: list[list[float]], labels: list[int], index: list[int]) -> dict[str, Tensor]:
    return {
        "input_ids": torch.tensor(logits),
        "labels": torch.tensor(labels),
        "index": torch.tensor(index),
    }


def test_training_step_is_the_loss_of_the_batch(classifier: Classifier) -> None:
    examples = batch([[2.0, 0.0], [0.0, 1.0]], [0, 0], [0, 1])
    expected = nn.functional.cross_entropy(examples["input_ids"], examples["labels"])
    assert torch.equal(classifier.training_step(examples, 0), expected)


def test_validation_is_over_the_whole_split_not_a_mean_over_batches(
    classifier: Classifier,
) -> None:
    classifier.requires_grad_(requires_grad=False)
    classifier.on_validation_epoch_start()
    classifier.validation_step(batch([[1.0, 0.0]] * 3, [0, 0, 0], [0, 1, 2]), 0)
    classifier.validation_step(batch([[1.0, 0.0]], [1], [3]), 1)
    classifier.on_validation_epoch_end()
    logged: dict[str, float] = classifier.logged  # type: ignore[assignment]
    assert logged["validation/accuracy"] == pytest.approx(0.75)
    assert logged["validation/f1_macro"] == pytest.approx((6 / 7 + 0) / 2)


def test_an_interrupted_validation_leaves_nothing_behind(classifier: Classifier) -> None:
    classifier.requires_grad_(requires_grad=False)
    classifier.validation_step(batch([[1.0, 0.0]], [1], [0]), 0)
    classifier.on_validation_epoch_start()
    classifier.validation_step(batch([[1.0, 0.0], [0.0, 1.0]], [0, 1], [0, 1]), 0)
    classifier.on_validation_epoch_end()
    logged: dict[str, float] = classifier.logged  # type: ignore[assignment]
    assert logged["validation/accuracy"] == 1.0


def test_dropout_of_a_batch_depends_on_seed_rank_and_batch_alone(classifier: Classifier) -> None:
    classifier.on_train_batch_start({}, 5)
    drawn = torch.rand(3)
    torch.rand(100)
    classifier.on_train_batch_start({}, 5)
    assert torch.equal(torch.rand(3), drawn)
    seeds = {
        batch_seed(seed, rank, number) for seed in (1, 2) for rank in (0, 1) for number in (1, 2)
    }
    assert len(seeds) == 8


def test_schedule_is_stepped_with_the_optimizer_and_planned_for_all_steps(
    classifier: Classifier,
) -> None:
    configured = classifier.configure_optimizers()
    scheduler = configured["lr_scheduler"]
    assert scheduler["interval"] == "step"
    # Two of the four steps warm up: the first has a third of the peak.
    assert configured["optimizer"].param_groups[0]["lr"] == pytest.approx(1e-2 / 3)

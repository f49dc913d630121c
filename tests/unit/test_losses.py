"""The loss is the one that its settings say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from textmill.errors import InputError
from textmill.labels import Labels
from textmill.model.losses import ClassificationLoss, resolve_class_weights

THREE = Labels(("a", "b", "c"))
MULTI = Labels(("a", "b", "c"), multi_label=True)


def test_cross_entropy_is_weighted_and_smoothed() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0]])
    targets = torch.tensor([0, 2])
    weights = torch.tensor([3.0, 1.0, 1.0])
    loss = ClassificationLoss(THREE, weights, 0.1)(logits, targets)
    expected = functional.cross_entropy(logits, targets, weights, label_smoothing=0.1)
    assert torch.equal(loss, expected)
    assert not torch.equal(loss, ClassificationLoss(THREE)(logits, targets))


def test_multi_label_loss_is_binary_cross_entropy_with_weighted_positives() -> None:
    logits = torch.tensor([[1.0, -2.0, 0.5]])
    targets = torch.tensor([[1.0, 0.0, 1.0]])
    weights = torch.tensor([2.0, 1.0, 1.0])
    loss = ClassificationLoss(MULTI, weights)(logits, targets)
    terms = [2.0 * -torch.sigmoid(logits[0, 0]).log(), -torch.sigmoid(-logits[0, 1]).log()]
    terms.append(-torch.sigmoid(logits[0, 2]).log())
    assert loss.item() == pytest.approx(float(sum(terms)) / 3, abs=1e-6)


def test_multi_label_smoothing_moves_targets_towards_a_half() -> None:
    logits = torch.tensor([[2.0, -2.0, 0.0]])
    targets = torch.tensor([[1.0, 0.0, 1.0]])
    loss = ClassificationLoss(MULTI, label_smoothing=0.2)(logits, targets)
    expected = functional.binary_cross_entropy_with_logits(logits, torch.tensor([[0.9, 0.1, 0.9]]))
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)


def test_half_precision_logits_are_computed_in_float32() -> None:
    loss = ClassificationLoss(THREE)(torch.zeros(2, 3, dtype=torch.bfloat16), torch.tensor([0, 1]))
    assert loss.dtype == torch.float32


def test_balanced_weights_are_inverse_to_the_counts() -> None:
    weights = resolve_class_weights("balanced", THREE, np.array([60, 30, 10]), 100)
    assert weights is not None
    assert weights.tolist() == pytest.approx([100 / 180, 100 / 90, 100 / 30])


def test_balanced_weights_of_multi_label_are_negatives_over_positives() -> None:
    weights = resolve_class_weights("balanced", MULTI, np.array([50, 20, 0]), 100)
    assert weights is not None
    assert weights.tolist() == pytest.approx([1.0, 4.0, 100.0])


def test_a_map_weighs_the_labels_it_names_and_leaves_the_others_at_one() -> None:
    weights = resolve_class_weights({"c": 4.0}, THREE, np.array([1, 1, 1]), 3)
    assert weights is not None
    assert weights.tolist() == [1.0, 1.0, 4.0]
    assert resolve_class_weights("none", THREE, np.array([1, 1, 1]), 3) is None


def test_unknown_labels_in_the_map_are_all_told_with_the_nearest() -> None:
    labels = Labels(("negative", "positive"))
    with pytest.raises(InputError) as caught:
        resolve_class_weights({"negativ": 2.0, "postive": 2.0}, labels, np.array([1, 1]), 2)
    assert len(caught.value.problems) == 2
    assert "did you mean negative?" in caught.value.problems[0]

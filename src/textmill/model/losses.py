"""The loss of a batch, and the class weights that go into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from textmill.errors import InputError, did_you_mean
from textmill.labels import Labels


class ClassificationLoss(nn.Module):
    """Cross-entropy; for multi-label problems, the mean binary cross-entropy of the labels.

    Args:
        labels: The label set.
        class_weights: Weight of each class, ``[labels]``; in multi-label problems, of the
            positive examples of each label.
        label_smoothing: Share of the target probability spread evenly (Szegedy et al., 2016,
            "Rethinking the Inception Architecture", section 7).
    """

    class_weights: Tensor | None

    def __init__(
        self, labels: Labels, class_weights: Tensor | None = None, label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        self.multi_label = labels.multi_label
        self.label_smoothing = label_smoothing
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean loss.

        Args:
            logits: ``[batch, labels]``.
            targets: Label ids ``[batch]``, or 0 and 1 ``[batch, labels]`` for multi-label.
        """
        logits = logits.float()
        if not self.multi_label:
            return functional.cross_entropy(
                logits, targets, self.class_weights, label_smoothing=self.label_smoothing
            )
        smoothed = targets * (1 - self.label_smoothing) + self.label_smoothing / 2
        return functional.binary_cross_entropy_with_logits(
            logits, smoothed, pos_weight=self.class_weights
        )


def resolve_class_weights(
    setting: Literal["none", "balanced"] | Mapping[str, float],
    labels: Labels,
    counts: npt.NDArray[np.int64],
    examples: int,
) -> Tensor | None:
    """The weights that a setting stands for.

    Args:
        setting: ``none``, ``balanced``, or a weight by label name (1 for those left out).
        labels: The label set.
        counts: Training examples with each label, ``[labels]``.
        examples: All training examples.

    Returns:
        ``[labels]``, or None for no weights. ``balanced`` is ``examples / (labels * count)`` (King
        & Zeng, 2001, as in scikit-learn); for multi-label, negatives over positives.

    Raises:
        InputError: The map names a label that doesn't exist.
    """
    if setting == "none":
        return None
    if setting == "balanced":
        present = np.maximum(counts, 1)
        weights = (
            (examples - counts) / present
            if labels.multi_label
            else examples / (len(labels) * present)
        )
        return torch.tensor(weights, dtype=torch.float32)
    unknown = [name for name in setting if name not in labels.label2id]
    if unknown:
        raise InputError.all_of(
            InputError(
                f"there is no label {name!r}",
                where="loss.class_weights",
                hint=did_you_mean(name, labels.names),
            )
            for name in unknown
        )
    return torch.tensor([setting.get(name, 1.0) for name in labels.names], dtype=torch.float32)

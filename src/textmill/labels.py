"""The labels of a classifier, in the order in which every stage uses them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Labels:
    """The label names; a name's position is the label's id in data, logits and scores.

    Args:
        names: The names, in the order written once, when the training data was read.
        multi_label: Whether a text may have any number of labels instead of exactly one.
    """

    names: tuple[str, ...]
    multi_label: bool = False

    def __len__(self) -> int:
        return len(self.names)

    @property
    def id2label(self) -> dict[int, str]:
        """From id to name, as transformers' configurations hold it."""
        return dict(enumerate(self.names))

    @property
    def label2id(self) -> dict[str, int]:
        """From name to id."""
        return {name: index for index, name in enumerate(self.names)}

    @property
    def problem_type(
        self,
    ) -> Literal["single_label_classification", "multi_label_classification"]:
        """The name that transformers gives to this kind of classification."""
        return "multi_label_classification" if self.multi_label else "single_label_classification"

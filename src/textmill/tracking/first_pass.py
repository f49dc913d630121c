"""What the model said of each training example when it first met it.

In the first epoch a model is asked about every example before it has learned from it, so these
probabilities are out of sample and cost nothing (prequential evaluation; Dawid 1984, "Statistical
Theory: The Prequential Approach"). They tell which labels may be wrong.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from textmill.forms.torch_form import to_probabilities
from textmill.labels import Labels
from textmill.safe_write import machine_faults, replace_file


class FirstPass:
    """Writes the probabilities ``[examples, labels]``, float32, NaN where there are none yet.

    Args:
        path: The file, in NumPy's format; processes that train together share it.
        examples: Training examples.
        labels: The label set.
    """

    def __init__(self, path: Path, examples: int, labels: Labels) -> None:
        self._path = path
        self._shape = (examples, len(labels))
        self._multi_label = labels.multi_label
        self._outstanding: list[tuple[Tensor, Tensor]] = []

    def make(self) -> None:
        """Makes the file, unless a run that is resumed has made it."""
        if self._path.exists():
            return
        with replace_file(self._path) as temporary, temporary.open("wb") as file:
            np.save(file, np.full(self._shape, np.nan, dtype=np.float32))

    def add(self, index: Tensor, logits: Tensor) -> None:
        """Keeps a batch for `flush`, without waiting for the device.

        Args:
            index: The examples' numbers in the split, ``[batch]``.
            logits: Of the examples, before the model has learned from them, ``[batch, labels]``.
        """
        self._outstanding.append((index, logits))

    def flush(self) -> None:
        """Writes what is kept; an example that has its probabilities keeps them.

        Raises:
            MachineError: The file can't be written.
        """
        if not self._outstanding:
            return
        index, logits = (torch.cat(part).cpu() for part in zip(*self._outstanding, strict=True))
        self._outstanding = []
        with machine_faults(self._path):
            written = np.load(self._path, mmap_mode="r+")
            rows = index.numpy()
            new = np.isnan(written[rows, 0])
            probabilities = to_probabilities(logits.float(), multi_label=self._multi_label)
            # Without waiting for the disk, which would take longer the larger the file is: what a
            # process has written stays, also if it is killed.
            written[rows[new]] = probabilities.numpy()[new]

"""What happened in training since the last record: sums, and where the time went."""

from __future__ import annotations

import time
from typing import Any

from torch import Tensor

PHASES = ("data", "forward", "backward", "optimizer", "validation", "saving")


class Window:
    """Sums over the batches since the last record.

    What the device computes stays on the device until a record is made, so that no step waits.
    """

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begins anew."""
        self._loss: Tensor | float = 0.0
        self._tokens: Tensor | int = 0
        self._gradient_norm: Tensor | float = 0.0
        self._batches = self._examples = self._positions = self.steps = 0

    def add_batch(self, loss: Tensor, attention_mask: Tensor) -> None:
        """Counts a batch.

        Args:
            loss: Its mean loss.
            attention_mask: ``[batch, seq]``.
        """
        self._loss = self._loss + loss.detach()
        self._tokens = self._tokens + attention_mask.sum()
        self._batches += 1
        self._examples += len(attention_mask)
        self._positions += attention_mask.numel()

    def add_step(self, gradient_norm: Tensor) -> None:
        """Counts an optimizer step."""
        self._gradient_norm = self._gradient_norm + gradient_norm.detach()
        self.steps += 1

    def totals(self) -> dict[str, float]:
        """The sums; reading them waits for the device."""
        return {
            "loss": float(self._loss),
            "gradient_norm": float(self._gradient_norm),
            "tokens": float(self._tokens),
            "batches": float(self._batches),
            "examples": float(self._examples),
            "positions": float(self._positions),
            "steps": float(self.steps),
        }

    def state_dict(self) -> dict[str, float]:
        """For a checkpoint in the middle of a window."""
        return self.totals()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over from a checkpoint."""
        self._loss = state_dict["loss"]
        self._gradient_norm = state_dict["gradient_norm"]
        self._tokens = int(state_dict["tokens"])
        self._batches = int(state_dict["batches"])
        self._examples = int(state_dict["examples"])
        self._positions = int(state_dict["positions"])
        self.steps = int(state_dict["steps"])


def means(totals: dict[str, float]) -> dict[str, float]:
    """What a record tells of a window.

    Args:
        totals: `Window.totals`, added up over the processes that train together.
    """
    return {
        "loss": totals["loss"] / totals["batches"],
        "gradient_norm": totals["gradient_norm"] / totals["steps"],
        "padding_share": 1 - totals["tokens"] / totals["positions"],
    }


class Phases:
    """A stopwatch that tells what the time was spent on.

    A device that computes beside the processor is not waited for: its work then counts where the
    processor first waits.
    """

    def __init__(self) -> None:
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._clock = time.monotonic()

    def start(self) -> None:
        """Forgets the time until now."""
        self._clock = time.monotonic()

    def lap(self, phase: str) -> None:
        """Counts the time since the last lap towards a phase."""
        before, self._clock = self._clock, time.monotonic()
        self._seconds[phase] += self._clock - before

    def take(self) -> dict[str, float]:
        """The seconds of each phase since the last taking."""
        taken, self._seconds = self._seconds, dict.fromkeys(PHASES, 0.0)
        return taken

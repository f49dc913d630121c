"""A record's numbers are those of its own batches, whatever checkpoints fall between them."""

from __future__ import annotations

import time

import pytest
import torch

from textmill.tracking.window import PHASES, Phases, Window, means

MASKS = [torch.tensor([[1, 1, 0], [1, 1, 1]]), torch.tensor([[1, 1], [1, 0], [1, 0]])]


def filled() -> Window:
    window = Window()
    for loss, mask in zip((1.0, 3.0), MASKS, strict=True):
        window.add_batch(torch.tensor(loss), mask)
        window.add_step(torch.tensor(2 * loss))
    return window


def test_totals_count_examples_tokens_and_padding() -> None:
    assert filled().totals() == {
        "loss": 4.0,
        "gradient_norm": 8.0,
        "tokens": 9.0,
        "batches": 2.0,
        "examples": 5.0,
        "positions": 12.0,
        "steps": 2.0,
    }


def test_means_are_per_batch_step_and_position() -> None:
    assert means(filled().totals()) == {"loss": 2.0, "gradient_norm": 4.0, "padding_share": 0.25}


def test_a_window_begins_anew_after_its_record() -> None:
    window = filled()
    window.restart()
    assert window.steps == 0
    assert set(window.totals().values()) == {0.0}


def test_a_window_goes_on_from_a_checkpoint_in_its_middle() -> None:
    whole, first = filled(), Window()
    first.add_batch(torch.tensor(1.0), MASKS[0])
    first.add_step(torch.tensor(2.0))
    second = Window()
    second.load_state_dict(first.state_dict())
    second.add_batch(torch.tensor(3.0), MASKS[1])
    second.add_step(torch.tensor(6.0))
    assert second.totals() == whole.totals()
    assert second.steps == whole.steps


def test_its_state_is_of_plain_numbers_which_checkpoints_can_hold() -> None:
    assert all(type(value) is float for value in filled().state_dict().values())


def test_each_phase_has_its_own_time_since_the_last_taking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter([0.0, 5.0, 6.0, 8.0, 9.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    phases = Phases()
    phases.start()  # the five seconds before it are nobody's
    for phase in ("data", "forward", "data"):
        phases.lap(phase)
    expected = dict.fromkeys(PHASES, 0.0) | {"data": 2.0, "forward": 2.0}
    assert phases.take() == expected
    assert set(phases.take().values()) == {0.0}

"""Each training example keeps what the model said of it when it first met it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from textmill.errors import MachineError
from textmill.labels import Labels
from textmill.tracking.first_pass import FirstPass

LABELS = Labels(("bad", "good"), multi_label=False)


def first_pass(path: Path, labels: Labels = LABELS) -> FirstPass:
    written = FirstPass(path, 4, labels)
    written.make()
    return written


def add(written: FirstPass, index: list[int], logits: list[list[float]]) -> None:
    written.add(torch.tensor(index), torch.tensor(logits))


def test_examples_not_met_yet_have_no_probabilities(tmp_path: Path) -> None:
    first_pass(tmp_path / "first.npy")
    written = np.load(tmp_path / "first.npy")
    assert written.shape == (4, 2)
    assert written.dtype == np.float32
    assert np.isnan(written).all()


def test_probabilities_stand_at_the_examples_own_row(tmp_path: Path) -> None:
    written = first_pass(tmp_path / "first.npy")
    add(written, [3, 0], [[0.0, 1.0], [2.0, 0.0]])
    add(written, [1], [[0.0, 0.0]])
    written.flush()
    expected = torch.softmax(torch.tensor([[2.0, 0.0], [0.0, 0.0], [0.0, 1.0]]), dim=-1).numpy()
    found = np.load(tmp_path / "first.npy")
    np.testing.assert_array_equal(found[[0, 1, 3]], expected)
    assert np.isnan(found[2]).all()


def test_several_labels_have_probabilities_of_their_own(tmp_path: Path) -> None:
    written = first_pass(tmp_path / "first.npy", Labels(("a", "b"), multi_label=True))
    add(written, [0], [[0.0, 0.0]])
    written.flush()
    np.testing.assert_array_equal(np.load(tmp_path / "first.npy")[0], [0.5, 0.5])


def test_the_first_probabilities_stay_also_after_a_resume(tmp_path: Path) -> None:
    written = first_pass(tmp_path / "first.npy")
    add(written, [0], [[5.0, 0.0]])
    written.flush()
    resumed = first_pass(tmp_path / "first.npy")
    add(resumed, [0, 1], [[0.0, 5.0], [0.0, 5.0]])
    resumed.flush()
    found = np.load(tmp_path / "first.npy")
    assert found[0].argmax() == 0
    assert found[1].argmax() == 1


def test_training_never_waits_until_the_disk_has_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(np.memmap, "flush")
    written = first_pass(tmp_path / "first.npy")
    add(written, [2], [[0.0, 0.0]])
    written.flush()
    np.testing.assert_array_equal(np.load(tmp_path / "first.npy")[2], [0.5, 0.5])


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError):
        FirstPass(tmp_path / "file" / "first.npy", 4, LABELS).make()

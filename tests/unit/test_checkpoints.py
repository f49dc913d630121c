"""Checkpoints are written where a run can be resumed exactly, and read with care."""

from __future__ import annotations

import os
import pickle
import signal
from pathlib import Path
from typing import BinaryIO

import pytest
import torch

from textmill.errors import InputError, MachineError
from textmill.model.checkpoints import (
    AtomicCheckpointIO,
    Plan,
    StopRequest,
    read_checkpoint,
    validation_points,
)


def points(ends: list[int], total: int, accumulate: int = 1, validations: int = 1) -> list[int]:
    return list(validation_points(ends, total, accumulate=accumulate, validations=validations))


def test_the_end_of_training_is_always_validated_and_once() -> None:
    assert points([10, 20, 30], 30) == [10, 20, 30]
    assert points([10, 20, 30], 25) == [10, 20, 25]
    assert points([10, 20], 4) == [4]


def test_several_validations_of_an_epoch_are_evenly_spaced_and_the_last_at_its_end() -> None:
    assert points([12, 24], 24, validations=4) == [3, 6, 9, 12, 15, 18, 21, 24]
    assert points([10, 20], 20, validations=3) == [4, 7, 10, 14, 17, 20]
    assert points([12, 24], 16, validations=4) == [3, 6, 9, 12, 15, 16]
    assert points([12, 24], 15, validations=4) == [3, 6, 9, 12, 15]


def test_validations_are_behind_whole_optimizer_steps() -> None:
    found = points([12, 20, 32], 32, accumulate=4, validations=2)
    assert found == [8, 12, 16, 20, 28, 32]


def test_an_epoch_of_fewer_steps_than_validations_is_validated_behind_each() -> None:
    assert points([2, 4], 4, validations=5) == [1, 2, 3, 4]
    # An epoch within the last accumulated step of another has no step of its own.
    assert points([4, 4, 8], 8, accumulate=4, validations=3) == [4, 8]


def test_next_validation_is_the_first_behind_the_position() -> None:
    plan = Plan((10, 20, 25), accumulate=1, every_steps=None, every_seconds=60)
    assert [plan.next_validation(done) for done in (0, 9, 10, 24, 25)] == [10, 10, 20, 25, 25]
    assert plan.total_batches == 25


def test_a_signal_is_noted_and_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        assert stop.signal_number is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal_number == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_ctrl_c_stops_at_once() -> None:
    with StopRequest():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_checkpoint_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state": torch.arange(3), "done": 7}, path)
    loaded = AtomicCheckpointIO().load_checkpoint(path)
    assert loaded["done"] == 7
    assert torch.equal(loaded["state"], torch.arange(3))
    assert [item.name for item in path.parent.iterdir()] == ["last.ckpt"]


def test_a_failed_write_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"done": 1}, path)

    def full_disk(_: object, file: BinaryIO) -> None:
        file.write(b"half a check")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(MachineError, match="disk is full"):
        AtomicCheckpointIO().save_checkpoint({"done": 2}, path)
    assert read_checkpoint(path) == {"done": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("damage", ["cut", "noise", "empty"])
def test_a_broken_checkpoint_is_told_in_one_line(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state": torch.arange(1000)}, path)
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "noise": b"x" * 100, "empty": b""}[damage])
    with pytest.raises(InputError, match=r"can't be read, in .*last\.ckpt") as caught:
        read_checkpoint(path)
    assert len(caught.value.problems) == 1


def test_objects_in_a_checkpoint_are_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "sprung",)  # type: ignore[return-value]

    path = tmp_path / "last.ckpt"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputError):
        read_checkpoint(path)
    assert not (tmp_path / "sprung").exists()


def test_a_missing_checkpoint_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no checkpoint"):
        read_checkpoint(tmp_path / "last.ckpt")

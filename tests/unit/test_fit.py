"""Precision and devices follow the machine, and what it lacks is refused."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch.strategies import ModelParallelStrategy

from textmill import fit
from textmill.errors import InputError
from textmill.fit import Hardware


@pytest.mark.parametrize(("supported", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_automatic_precision_is_bfloat16_only_where_the_hardware_computes_it(
    monkeypatch: pytest.MonkeyPatch, *, supported: bool, expected: str
) -> None:
    monkeypatch.setattr(fit, "has_bfloat16", lambda: supported)
    assert Hardware("auto", 1, "auto", "auto", 0).resolved_precision == expected
    assert Hardware("auto", 1, "auto", "16-mixed", 0).resolved_precision == "16-mixed"


@pytest.mark.parametrize(
    ("asked", "torch_has", "usable", "devices", "taken"),
    [
        pytest.param(3, 8, 8, 1, 3, id="as-asked"),
        pytest.param(None, 8, 8, 1, 8, id="all-cores"),
        pytest.param(None, 64, 2, 1, 2, id="a-container-with-fewer-cores"),
        pytest.param(None, 1, 8, 1, 1, id="OMP_NUM_THREADS"),
        pytest.param(None, 8, 8, 2, 4, id="shared-by-two"),
        pytest.param(None, 2, 2, 4, 1, id="never-none"),
    ],
)
def test_threads_are_the_cores_that_may_be_used(
    monkeypatch: pytest.MonkeyPatch,
    *,
    asked: int | None,
    torch_has: int,
    usable: int,
    devices: int,
    taken: int,
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: torch_has)
    monkeypatch.setattr(fit, "usable_cores", lambda: usable)
    assert Hardware("cpu", devices, "auto", "auto", 0, asked).resolved_threads == taken


def test_devices_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    Hardware("gpu", 2, "auto", "auto", 0).check()
    with pytest.raises(InputError, match=r"3 devices.*there are 2.*trainer\.devices=2"):
        Hardware("gpu", 3, "auto", "auto", 0).check()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(InputError, match=r"no gpu.*trainer\.accelerator=auto"):
        Hardware("gpu", 1, "auto", "auto", 0).check()
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"needs a GPU.*trainer\.precision=16-mixed"):
        Hardware("auto", 1, "auto", "16-mixed", 0).check()


@pytest.mark.parametrize(
    ("asked", "devices", "taken"),
    [("auto", 1, "auto"), ("auto", 2, "ddp"), ("ddp", 1, "ddp"), ("ddp", 2, "ddp")],
)
def test_several_devices_have_a_copy_each_unless_told_otherwise(
    asked: str, devices: int, taken: str
) -> None:
    hardware = Hardware("cpu", devices, asked, "auto", 0)  # type: ignore[arg-type]
    assert fit._strategy(hardware) == taken


def test_a_network_that_is_shared_out_is_saved_as_one_file() -> None:
    strategy = fit._strategy(Hardware("cpu", 2, "fsdp", "auto", 0))
    assert isinstance(strategy, ModelParallelStrategy)
    assert not strategy._save_distributed_checkpoint


def test_a_processor_takes_any_number_of_processes() -> None:
    Hardware("cpu", 8, "auto", "auto", 0).check()


@pytest.mark.parametrize(
    ("variables", "rank"),
    [({}, 0), ({"LOCAL_RANK": "1"}, 1), ({"LOCAL_RANK": "1", "RANK": "5"}, 5)],
)
def test_rank_is_that_among_all_machines(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], rank: int
) -> None:
    for name in ("LOCAL_RANK", "RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert fit.process_rank() == rank

"""A command line gives the combinations that Hydra gives, all checked before any is launched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton

from textmill import grid as grid_module
from textmill.errors import InputError
from textmill.grid import open_grid


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hydra's state is global."""
    monkeypatch.chdir(tmp_path)
    state = Singleton.get_state()
    yield
    GlobalHydra.instance().clear()
    Singleton.set_state(state)


def combinations(*argv: str) -> list[str]:
    with open_grid(argv, "train") as grid:
        return [" ".join(one) for one in grid.combinations]


@pytest.mark.parametrize(
    "argv", [["-m", "seed=1,2", "data=tweets"], ["data=tweets", "-m", "seed=1,2"]]
)
def test_flags_may_stand_anywhere(argv: list[str]) -> None:
    assert {tuple(sorted(one.split())) for one in combinations(*argv)} == {
        ("data=tweets", "seed=1"),
        ("data=tweets", "seed=2"),
    }


def test_the_last_key_varies_fastest_and_equal_combinations_are_one() -> None:
    assert combinations("-m", "optimizer.lr=0.1,0.2", "seed=0,1,1") == [
        "optimizer.lr=0.1 seed=0",
        "optimizer.lr=0.1 seed=1",
        "optimizer.lr=0.2 seed=0",
        "optimizer.lr=0.2 seed=1",
    ]


def test_values_may_stand_in_a_file_for_the_sweeper(tmp_path: Path) -> None:
    (tmp_path / "exp.yaml").write_text("hydra: {sweeper: {params: {seed: '1,2'}}}\n")
    with open_grid(["-m", "experiment=./exp.yaml"], "train") as grid:
        assert [grid.as_given(one) for one in grid.combinations] == [
            ("seed=1", "experiment=./exp.yaml"),
            ("seed=2", "experiment=./exp.yaml"),
        ]


def test_a_range_of_real_numbers_has_no_combinations() -> None:
    with pytest.raises(InputError, match=r"interval\(0,1\).*textmill sweep"):
        combinations("-m", "data.split.test=interval(0,1)")


def test_its_folder_is_new_unless_it_is_given() -> None:
    with open_grid(["-m", "seed=1,2"], "train") as grid:
        first = grid.folder
    assert first.parent == Path.cwd() / "runs" / "multirun"
    first.mkdir(parents=True)
    with open_grid(["-m", "seed=1,2", f"hydra.sweep.dir={first}"], "train") as grid:
        assert grid.folder == first
    assert grid_module._unused(first).name == f"{first.name}-2"


def test_each_value_of_very_many_combinations_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid_module, "_MOST_COMPOSED", 4)
    tried: list[str] = []
    with (
        open_grid(["-m", "seed=1,2,3", "optimizer.lr=0.1,0.2,-1"], "train") as grid,
        pytest.raises(InputError, match=r"optimizer\.lr can't be -1"),
    ):
        grid.check(lambda composed: tried.append(" ".join(composed.overrides)))
    assert tried == [
        "seed=1 optimizer.lr=0.1",
        "seed=1 optimizer.lr=0.2",
        "seed=2 optimizer.lr=0.1",
        "seed=3 optimizer.lr=0.1",
    ]


def test_every_combination_has_the_same_folder_and_its_own_values() -> None:
    with open_grid(["-m", "seed=1,2"], "train") as grid:
        seen: list[int] = []
        first = grid.check(lambda composed: seen.append(composed.config.seed))
    assert seen == [1, 2]
    assert first.overrides == ("seed=1",)


@pytest.mark.parametrize("flag", ["--cfg=job", "--info", "--hydra-help"])
def test_it_shows_nothing(flag: str) -> None:
    with pytest.raises(InputError, match="-m only runs"):
        combinations("-m", "seed=1,2", flag)


@pytest.mark.parametrize("name", ["joblib", "submitit_slurm", "submitit_local", "ray"])
def test_a_launcher_that_is_not_installed_is_told_with_its_extra(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Plugins.instance(), "class_name_to_class", {})
    extra = name.partition("_")[0]
    with pytest.raises(InputError, match=rf"hydra/launcher={name}.*textmill\[{extra}\]"):
        combinations("-m", "seed=1,2", f"hydra/launcher={name}")


def test_a_launcher_that_there_is_not_is_told() -> None:
    with pytest.raises(InputError, match=r"no launcher named|hydra/launcher=jobilb"):
        combinations("-m", "seed=1,2", "hydra/launcher=jobilb")

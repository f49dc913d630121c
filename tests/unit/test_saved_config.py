"""A run's configuration, or a whole one in a file, takes the place of the defaults."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton

from textmill.configuration.composing import Composed, run_with_hydra
from textmill.configuration.saved import pin_saved, take_saved
from textmill.errors import InputError
from textmill.runs import Run, create_run


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hydra's state is global, and runs are below the folder that a test runs in."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    state = Singleton.get_state()
    yield
    GlobalHydra.instance().clear()
    Singleton.set_state(state)


def compose_all(*argv: str, tell: Callable[[str], None] = pytest.fail) -> list[Composed[Any]]:
    composed: list[Composed[Any]] = []
    run_with_hydra(take_saved(argv, "train", tell), "train", composed.append)
    return composed


def compose(*argv: str, tell: Callable[[str], None] = pytest.fail) -> Composed[Any]:
    [only] = compose_all(*argv, tell=tell)
    return only


def saved(*overrides: str) -> Run:
    composed = compose(*overrides)
    facts = {"folder": str(Path.cwd())}
    return create_run(Path("runs"), "demo", composed.resolved, composed.overrides, facts=facts)


def write(values: dict[str, Any]) -> Path:
    path = Path("whole.yaml")
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def changed(run: Run, **sections: dict[str, Any]) -> Path:
    """A file with a run's configuration, some keys of its sections changed."""
    values = yaml.safe_load(run.config.read_text())
    for section, keys in sections.items():
        values[section].update(keys)
    return write(values)


SETTINGS = [
    "data=cola",
    "data.path=cola",
    "model=bert_tiny",
    "optimizer=adafactor",
    "tracking=[csv]",
    "trainer.max_steps=100",
    "scheduler.warmup=0.2",
    r'tracking.notes="costs \${x} or \\\${y}, 1e5"',
    "name=demo",
    "seed=7",
]


@pytest.mark.parametrize("given", ["latest", "demo", "{folder}", "{folder}/config.yaml"])
def test_a_run_starts_again_with_the_very_same_configuration(given: str) -> None:
    run = saved(*SETTINGS, "loss.class_weights={acceptable: 2.0}")
    again = compose("--config", given.format(folder=run.folder))
    assert again.resolved == yaml.safe_load(run.config.read_text())
    assert again.overrides == ()
    assert again.base == run.read_manifest()["identity"]


def test_a_configuration_that_starts_from_the_defaults_is_from_no_run() -> None:
    saved(*SETTINGS)
    compose("--config", "latest")
    assert compose("seed=1").base is None


def test_overrides_choices_and_experiments_change_a_saved_configuration() -> None:
    saved(*SETTINGS)
    changes = ("optimizer.lr=0.5", "data=tweets", "tracking=none", "experiment=smoke", "seed=3")
    again = compose("--config=latest", *changes)
    assert again.overrides == changes
    config = again.config
    assert (config.optimizer.name, config.optimizer.lr, config.seed) == ("adafactor", 0.5, 3)
    assert (config.data.name, config.data.path, config.data.local) == ("tweets", None, None)
    assert (config.tracking.csv, config.tracking.notes) == (False, None)
    assert config.trainer.max_steps == compose("experiment=smoke").config.trainer.max_steps


def test_what_followed_from_others_goes_on_to_follow() -> None:
    saved("data=cola", "trainer.max_steps=100", "scheduler.warmup=0.2", "optimizer.lr=0.1")
    changes = ("data=tweets", "trainer.max_steps=10", "optimizer.lr=0.5")
    config = compose("--config", "latest", *changes).config
    assert config.name == "tweets-minilm"
    assert (config.scheduler.warmup_steps, config.optimizer.head_lr) == (2, 0.5)


def test_what_was_set_apart_stays_set() -> None:
    saved("name=mine", "optimizer.head_lr=0.3", "data.max_length=32")
    config = compose("--config", "latest", "data.train=x", "optimizer.lr=0.5").config
    assert (config.name, config.optimizer.head_lr, config.data.max_length) == ("mine", 0.3, 32)


def test_a_saved_configuration_is_varied_like_any_other() -> None:
    run = saved(*SETTINGS)
    many = compose_all("--config", "latest", "-m", "seed=1,2", "data=tweets,cola")
    assert [one.config.seed for one in many] == [1, 1, 2, 2]
    assert {one.config.optimizer.name for one in many} == {"adafactor"}
    assert {one.base for one in many} == {run.read_manifest()["identity"]}


def test_a_pinned_run_stays_the_same_when_there_is_a_later_one() -> None:
    first = saved("seed=5")
    pinned = pin_saved(["--config", "latest", "optimizer.lr=0.5"])
    saved("seed=6")
    assert not any(Path(argument).is_absolute() for argument in pinned)
    again = compose(*pinned)
    assert (again.config.seed, again.config.optimizer.lr) == (5, 0.5)
    assert again.base == first.read_manifest()["identity"]
    assert pin_saved(["seed=1"]) == ["seed=1"]


def test_runs_of_another_folder_are_found_there() -> None:
    composed = compose("runs_dir=mine", "seed=5")
    create_run(Path("mine"), "demo", composed.resolved, ())
    assert compose("--config", "latest", "runs_dir=mine").config.seed == 5


def test_a_file_may_refer_from_key_to_key() -> None:
    run = saved("seed=1")
    path = changed(run, data={"max_length": "${trainer.batch_size}"})
    composed = compose("--config", str(path), "trainer.batch_size=5")
    assert composed.config.data.max_length == 5
    assert composed.base == str(path.absolute())


def test_keys_that_there_were_not_yet_have_their_defaults_and_are_told() -> None:
    values = yaml.safe_load(saved("trainer.max_steps=100").config.read_text())
    del values["trainer"]["accumulate"], values["seed"], values["baselines"]
    told: list[str] = []
    config = compose("--config", str(write(values)), tell=told.append).config
    assert (config.trainer.accumulate, config.seed, config.baselines.enabled) == (1, 42, True)
    assert config.trainer.max_steps == 100
    assert [line.split(" is not in ")[0] for line in sorted(told)] == [
        "baselines",
        "seed",
        "trainer.accumulate",
    ]


def test_relative_paths_start_where_the_run_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made_in = Path.cwd()
    run = saved("data=files", "data.train=[a.csv,/b.csv]", "model=folder", "model.path=encoder")
    (made_in / "other").mkdir()
    monkeypatch.chdir(made_in / "other")
    told: list[str] = []
    given = ("--config", str(run.folder))
    config = compose(*given, tell=told.append).config
    assert config.data.train == [str(made_in / "a.csv"), "/b.csv"]
    assert config.model.path == str(made_in / "encoder")
    assert [line.split(" starts ")[0] for line in sorted(told)] == ["data.train", "model.path"]
    config = compose(*given, "data.train=c.csv", tell=told.append).config
    assert config.data.train == "c.csv"


def test_names_on_the_hub_and_in_an_archive_are_no_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [saved("data=sst2"), saved("data=tweets")]
    monkeypatch.chdir("/")
    for run in runs:
        assert (
            compose("--config", str(run.folder)).resolved["data"]
            == yaml.safe_load(run.config.read_text())["data"]
        )


def test_unknown_keys_are_refused_with_the_nearest_and_their_line() -> None:
    path = changed(saved("seed=1"), trainer={"max_epoch": 3}, data={"hub": {"repoo": "x"}})
    lines = path.read_text().splitlines()
    with pytest.raises(InputError) as caught:
        compose("--config", str(path))
    assert len(caught.value.problems) == 2
    for key, near in (("max_epoch", "trainer.max_epochs"), ("repoo", "data.hub.repo")):
        number = next(at for at, line in enumerate(lines, 1) if line.strip().startswith(f"{key}:"))
        [problem] = [one for one in caught.value.problems if f"{key}'" in one]
        assert f"in whole.yaml:{number}: did you mean {near}" in problem


def test_a_wrong_value_is_told_with_its_line_unless_it_is_overridden() -> None:
    path = changed(saved("seed=1"), optimizer={"lr": -1.0}, trainer={"devices": 0})
    with pytest.raises(InputError, match=r"trainer\.devices can't be 0, in whole\.yaml:\d+:"):
        compose("--config", str(path), "optimizer.lr=0.1")
    config = compose("--config", str(path), "optimizer.lr=0.1", "trainer.devices=1").config
    assert config.optimizer.lr == 0.1


WRONG = {
    "no run": (["--config", "nope"], "there is no run, in nope"),
    "no file": (["--config", "nope.yaml"], r"no such file, in --config nope\.yaml"),
    "nothing": (["--config"], "--config takes one run"),
    "empty": (["--config="], "--config takes one run"),
    "two": (["--config", "latest", "--config=latest"], "--config takes one run"),
    "resumed": (["--config", "latest", "resume=latest"], "keeps its own configuration"),
    "broken": (["--config", "broken.yaml"], r"can't be read, in broken\.yaml:2"),
    "list": (["--config", "list.yaml"], r"holds no keys, in list\.yaml"),
    "value for a section": (["--config", "flat.yaml"], r"data is a section, in flat\.yaml:1"),
    "added": (["--config", "latest", "+seed=3"], "seed is there already"),
    "deleted": (["--config", "latest", "~seed"], "seed can't be deleted"),
    "unknown override": (["--config", "latest", "sead=3"], "no key 'sead'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_can_not_be_started_from_is_told_in_a_line(case: str) -> None:
    argv, message = WRONG[case]
    saved("seed=1")
    Path("broken.yaml").write_text("seed: 1\n\tx: 2\n")
    Path("list.yaml").write_text("- 1\n")
    Path("flat.yaml").write_text("data: tweets\nseed: 3\n")
    with pytest.raises(InputError, match=message) as caught:
        compose(*argv, tell=lambda _: None)
    assert len(caught.value.problems) == 1


def test_a_run_that_is_not_whole_is_told() -> None:
    run = saved("seed=1")
    run.config.write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"configuration can't be read, in .*config\.yaml"):
        compose("--config", "latest")


def test_an_older_runs_manifest_knows_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    run = saved("data=files", "data.train=a.csv")
    manifest = json.loads(run.manifest.read_text())
    del manifest["folder"], manifest["identity"]
    run.manifest.write_text(json.dumps(manifest))
    monkeypatch.chdir("/")
    again = compose("--config", str(run.folder))
    assert (again.config.data.train, again.base) == ("a.csv", str(run.folder))

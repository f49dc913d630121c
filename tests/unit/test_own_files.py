"""A file of the user's own is a choice of any group, from any folder; what is wrong is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton

from textmill.configuration.composing import Composed, run_with_hydra
from textmill.errors import InputError

DATA = "name: mine\ntrain: reviews.csv\n"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hydra's state is global, and the files are in the folder that a test runs in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    state = Singleton.get_state()
    yield
    GlobalHydra.instance().clear()
    Singleton.set_state(state)


def write(name: str, text: str) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def compose_all(*argv: str, config_name: str = "train") -> list[Composed[Any]]:
    composed: list[Composed[Any]] = []
    run_with_hydra(argv, config_name, composed.append)
    return composed


def compose(*argv: str, config_name: str = "train") -> Composed[Any]:
    [only] = compose_all(*argv, config_name=config_name)
    return only


@pytest.mark.parametrize("verb", ["train", "evaluate"])
@pytest.mark.parametrize("written", ["mine.yaml", "./mine.yaml", "my sets/Mine.2.YML", "{}"])
def test_a_data_set_may_be_any_file_and_starts_from_the_base(
    written: str, verb: str, tmp_path: Path
) -> None:
    written = written.format(tmp_path / "elsewhere" / "x.yaml")
    write(written, DATA)
    composed = compose(f'data="{written}"', "data.max_length=7", config_name=verb)
    assert (composed.config.data.name, composed.config.data.train) == ("mine", "reviews.csv")
    assert composed.config.data.max_length == 7
    assert composed.config.data.on_problem.leak == "drop"


def test_the_overrides_stay_as_they_were_given() -> None:
    write("my/mine.yaml", DATA)
    write("mine.yaml", "seed: 5\n")
    write("my sets/a=b.yaml", "defaults: []\nnotes: mine\n")
    files = ("data=my/mine.yaml", "experiment=mine.yaml", 'tracking="my sets/a=b.yaml"')
    given = (*files, "name=a_my")
    assert compose(*given).overrides == given


def test_an_experiment_may_set_any_key_and_choose_in_other_groups() -> None:
    write("my/exp.yaml", "defaults:\n  - override /data: tweets\noptimizer:\n  lr: 0.5\n")
    config = compose("experiment=my/exp.yaml").config
    assert (config.data.name, config.optimizer.lr) == ("tweets", 0.5)


def test_files_and_names_go_together_where_a_group_combines() -> None:
    write("exp.yaml", "seed: 5\n")
    write("note.yaml", "notes: mine\n")
    config = compose("experiment=[smoke,exp.yaml]", "tracking=[csv,note.yaml]").config
    assert (config.seed, config.tracking.csv, config.tracking.notes) == (5, True, "mine")


def test_a_package_in_the_first_lines_counts() -> None:
    write("lr.yaml", "# What I like best\n# @package optimizer\n\nlr: 0.5\n")
    assert compose("experiment=lr.yaml").config.optimizer.lr == 0.5


def test_a_file_may_say_itself_what_it_starts_from() -> None:
    write("data.yaml", "defaults: [tweets, _self_]\nmax_length: 9\n")
    data = compose("data=data.yaml").config.data
    assert (data.name, data.max_length) == ("tweets", 9)


def test_two_files_of_one_name_are_told_apart() -> None:
    for folder in ("a", "b"):
        write(f"{folder}/set.yaml", f"name: {folder}\ntrain: x.csv\n")
    found = compose_all("-m", "data=a/set.yaml,b/set.yaml,tweets", "seed=1,2")
    assert [one.config.data.name for one in found] == ["a", "a", "b", "b", "tweets", "tweets"]
    assert found[3].overrides == ("data=b/set.yaml", "seed=2")


def test_a_file_that_changes_between_two_commands_is_read_again() -> None:
    for name in ("one", "two"):
        write("mine.yaml", f"name: {name}\ntrain: x.csv\n")
        assert compose("data=mine.yaml").config.data.name == name


def test_what_a_name_of_textmill_means_is_not_changed_by_a_file() -> None:
    write("tweets.yaml", DATA)
    assert compose("data=tweets").config.data.name == "tweets"
    assert compose("data=tweets.yaml").config.data.name == "mine"


WRONG = {
    "missing": ("data=mien.yaml", r"no file mien\.yaml, in data=mien\.yaml: did you mean mine\."),
    "missing name": ("data=tweets.yaml", r"no file tweets\.yaml.*did you mean data=tweets\?"),
    "missing folder": ("data=no/mine.yaml", r"no file no/mine\.yaml.*choose one of ag_news"),
    "missing suffix": ("data=./mine", r"no file \./mine.*did you mean \./mine\.yaml"),
    "folder": ("data=./folder", r"\./folder is a folder.*--config-dir"),
    "not YAML's name": ("data=./set.csv", r"set\.csv is not a YAML file"),
    "broken": ("data=broken.yaml", r"can't be read, in broken\.yaml:2"),
    "list": ("data=list.yaml", r"holds no keys, in list\.yaml"),
    "empty": ("data=empty.yaml", r"is empty, in empty\.yaml"),
    "text": ("data=text.yaml", r"holds no keys, in text\.yaml"),
    "bytes": ("data=bytes.yaml", r"holds no YAML, in bytes\.yaml"),
    "in a list": ("experiment=[smoke,mien.yaml]", r"no file mien\.yaml"),
    "unknown default": ("data=default.yaml", r"data/huh.*default\.yaml:"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_that_is_no_choice_is_told_in_a_line(case: str) -> None:
    override, message = WRONG[case]
    write("mine.yaml", DATA)
    write("set.csv", "text,label\n")
    write("broken.yaml", "name: mine\n\ttrain: a\n")
    write("list.yaml", "- a\n")
    write("empty.yaml", "# nothing\n")
    write("text.yaml", "just words\n")
    write("bytes.yaml", "").write_bytes(b"\xff\xfe\x00")
    write("default.yaml", "defaults: [huh, _self_]\n")
    Path("folder").mkdir()
    with pytest.raises(InputError, match=message) as caught:
        compose(override)
    assert len(caught.value.problems) == 1


def test_all_wrong_files_are_told_at_once_beside_other_problems() -> None:
    with pytest.raises(InputError) as caught:
        compose("data=a.yaml", "experiment=[b.yaml,c.yaml]", "~seed")
    assert len(caught.value.problems) == 4


def test_an_unknown_key_in_a_file_is_refused() -> None:
    write("mine.yaml", f"{DATA}txet: body\n")
    with pytest.raises(InputError, match=r"data\.txet.*did you mean data\.text"):
        compose("data=mine.yaml")


def test_a_folder_of_files_is_found_from_any_folder(tmp_path: Path) -> None:
    write("mine/data/reviews.yaml", f"defaults: [base, _self_]\n{DATA}")
    write("mine/experiment/fast.yaml", "# @package _global_\noptimizer: {lr: 0.5}\n")
    for folder in ("mine", "./mine", str(tmp_path / "mine")):
        config = compose("--config-dir", folder, "data=reviews", "experiment=fast").config
        assert (config.data.name, config.optimizer.lr) == ("mine", 0.5)


def test_a_folder_may_not_change_what_names_of_textmill_mean() -> None:
    write("mine/data/tweets.yaml", DATA)
    write("mine/data/base.yaml", DATA)
    write("mine/data/reviews.yaml", DATA)
    write("mine/train.yaml", "seed: 1\n")
    with pytest.raises(InputError, match=r"mine/data/tweets\.yaml is called like") as caught:
        compose("--config-dir", "mine", "data=reviews")
    assert len(caught.value.problems) == 3


def test_a_folder_without_a_groups_folder_is_told() -> None:
    write("mine/reviews.yaml", DATA)
    with pytest.raises(InputError, match=r"none in it.*put data sets into mine/data"):
        compose("--config-dir", "mine", "data=reviews")

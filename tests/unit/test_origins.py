"""Where a key was set is told by file and line, whatever put it there last."""

from __future__ import annotations

from pathlib import Path

import pytest

from textmill.configuration.composing import compose
from textmill.configuration.origins import Origin, Origins


@pytest.fixture(autouse=True)
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the user's files, below the working folder."""
    monkeypatch.chdir(tmp_path)
    for path, text in FILES.items():
        file = tmp_path / "my" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "my"


FILES = {
    "data/mine.yaml": "defaults: [cola, _self_]\nname: mine\ntext: [a, b]\nsplit: {test: 0.2}\n",
    "experiment/try.yaml": (
        "# @package _global_\ndefaults:\n  - override /data: mine\n\n"
        "trainer:\n  # more of it\n  max_epochs: 3\noptimizer: {lr: 0.1}\nseed: 1\n"
    ),
}
OWN = ["--config-dir", "my"]


def origins(*argv: str) -> Origins:
    return compose(argv, "train").find_origins()


def place(key: str, *argv: str) -> str:
    origin = origins(*argv).of(key)
    assert origin is not None
    return origin.place


def line_of(path: Path, text: str) -> int:
    return path.read_text("utf-8").splitlines().index(text) + 1


def test_a_default_is_in_a_file_of_the_package() -> None:
    path = Path(__file__).parents[2] / "src/textmill/conf/train.yaml"
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if "seed:" in text)
    assert origins().of("seed") == Origin(f"conf/train.yaml:{line}", "packaged")
    assert place("trainer.max_epochs").startswith("conf/trainer/base.yaml:")


@pytest.mark.parametrize(
    ("key", "where"),
    [
        ("data.name", "my/data/mine.yaml:2"),
        ("data.text", "my/data/mine.yaml:3"),
        ("data.split.test", "my/data/mine.yaml:4"),
        ("trainer.max_epochs", "my/experiment/try.yaml:7"),
        ("optimizer.lr", "my/experiment/try.yaml:8"),
        ("seed", "my/experiment/try.yaml:9"),
    ],
)
def test_a_file_of_the_users_is_told_as_one_would_type_it(key: str, where: str) -> None:
    assert place(key, *OWN, "experiment=try") == where
    assert origins(*OWN, "experiment=try").file(key) == where


def test_what_a_file_starts_from_sets_the_rest() -> None:
    found = origins(*OWN, "experiment=try")
    assert found.of(
        "data.hub.repo",
    ) == origins("data=cola").of("data.hub.repo")
    assert str(found.file("data.split.validation")).startswith("conf/data/base.yaml:")
    assert {"data/mine", "data/cola", "data/base", "experiment/try"} <= set(found.files)


def test_an_override_wins_and_is_told_as_given() -> None:
    given = [*OWN, "experiment=try", "seed=5", "optimizer={lr: 1}", "+data.label_values.x=y"]
    assert place("seed", *given) == "seed=5"
    assert place("optimizer.lr", *given) == "optimizer={lr: 1}"
    assert place("data.label_values.x", *given) == "+data.label_values.x=y"
    assert origins(*given).file("seed", "optimizer.lr") is None


def test_a_file_from_anywhere_is_told_too(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\ntrain: a.csv\nmax_length: 7\n")
    assert place("data.max_length", "data=./mine.yaml") == "mine.yaml:3"
    assert place("data.overflow", "data=./mine.yaml").startswith("conf/data/base.yaml:")


def test_of_a_value_set_whole_its_parts_have_the_same_origin() -> None:
    found = Origins({"a": Origin("x.yaml:1", "own")})
    assert found.of("a.b.c") == Origin("x.yaml:1", "own")
    assert found.of("ab") is None
    assert found.of("") is None


def test_several_files_are_told_together_and_one_file_once() -> None:
    found = Origins({"a": Origin("x.yaml:1", "own"), "b": Origin("y.yaml:2", "packaged")})
    assert found.file("a", "b", "a") == "x.yaml:1 and y.yaml:2"


def test_yaml_that_is_merged_into_a_section_counts(tmp_path: Path) -> None:
    text = "name: mine\ntrain: a\nhub: &h\n  repo: x/y\npackage:\n  <<: {name: p}\n"
    (tmp_path / "mine.yaml").write_text(text)
    assert place("data.package.name", "data=./mine.yaml") == "mine.yaml:6"


def test_a_section_that_is_set_to_null_is_found_below_it_too() -> None:
    assert place("data.local.text", "data=cola", "data.local=null") == "data.local=null"

"""A run starts again from its configuration, and is reproduced bit for bit in another folder.

All is trained in this process, so that torch is imported once.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import textmill.train  # noqa: F401 - imported once, for all forks
from tests.forks import in_fork, kill_self, on_call, write_short_reviews
from textmill.cli import main
from textmill.model.module import Classifier
from textmill.runs import Run, run_folders

COMMAND = [
    "train",
    "data=files",
    "data.train=reviews.csv",
    "data.max_length=32",
    "model=folder",
    "model.path=encoder",
    "trainer.max_epochs=2",
    "trainer.batch_size=16",
    "optimizer.lr=0.01",
    "baselines.enabled=false",
    "tracking=none",
    "tracking.report=false",
    "tracking.explained=0",
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    """A folder under git in which a run was made from files beside it."""
    folder = tmp_path_factory.mktemp("project")
    write_short_reviews(folder / "reviews.csv")
    shutil.copytree(tiny_encoder, folder / "encoder")
    (folder / ".gitignore").write_text("runs\n")
    git(folder, "init", "--quiet")
    commit(folder)
    with chdir(folder):
        assert main(COMMAND) == 0
    return folder


@pytest.fixture
def first(project: Path) -> Run:
    """The run that was made there."""
    return Run((project / "runs" / "latest").resolve())


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another folder, in which the test runs."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def commit(folder: Path) -> None:
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "A commit")


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def weights(run: Run) -> bytes:
    return (run.bundle / "model.safetensors").read_bytes()


@contextmanager
def changed(path: Path, change: Callable[[bytes], bytes]) -> Iterator[None]:
    """A file with another content for a while."""
    before = path.read_bytes()
    path.write_bytes(change(before))
    try:
        yield
    finally:
        path.write_bytes(before)


def doctored(run: Run, folder: Path, **facts: object) -> Run:
    """A copy of a run whose manifest says something else."""
    copy = Run(folder / "copy")
    shutil.copytree(run.folder, copy.folder)
    kept = copy.read_manifest()
    copy.update_manifest(
        **{
            name: {**kept[name], **value} if isinstance(value, dict) else value
            for name, value in facts.items()
        }
    )
    return copy


def checked(run: Run, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What ``--check`` says that differs, which must end with the status for that."""
    capsys.readouterr()
    status = main(["reproduce", str(run.folder), "--check", "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)["differences"]
    assert status == (1 if found else 0)
    return found


def test_a_run_is_reproduced_bit_for_bit_in_another_folder(
    first: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(first.folder)
    assert main(["reproduce", str(first.folder)]) == 0
    out = capsys.readouterr().out
    assert "the same as" in out
    assert out.endswith("\nreproduced, bit for bit\n")
    [folder] = run_folders(Path("runs"))
    again = Run(folder)
    assert weights(again) == weights(first)
    assert again.read_manifest()["reproduces"] == first.read_manifest()["identity"]
    assert again.read_manifest()["state"] == "finished"
    assert content(first.folder) == before


def test_another_training_is_told_by_how_much(
    first: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = doctored(first, tmp_path)
    config = run.config.read_text()
    run.config.write_text(config.replace("lr: 0.01", "lr: 0.02"))
    assert main(["reproduce", str(run.folder), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["verdict"], told["exact"], told["close"]) == ("not reproduced", False, False)
    assert told["differences"] == {}
    assert told["weights"]["largest_difference"] > 1e-3
    assert told["weights"]["then"] == first.read_manifest()["weights"]
    assert "validation/loss" in told["metrics"]["changed"]
    assert not any("seconds" in name for name in told["metrics"]["changed"])
    assert told["predictions"]["test"]["largest_difference"] > 1e-3
    assert Path(told["reproduction"]).is_dir()


def test_runs_from_a_saved_configuration_and_of_a_multirun_are_reproduced(
    first: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--config", str(first.folder), "trainer.max_steps=3", "-m", "seed=1,2"]
    assert main(["train", *argv]) == 0
    runs = [Run(folder) for folder in run_folders(Path("runs"))]
    assert [run.read_manifest()["seed"] for run in runs] == [1, 2]
    identity = first.read_manifest()["identity"]
    assert {run.read_manifest()["started_from"] for run in runs} == {identity}
    assert main(["reproduce", runs[0].folder.name]) == 0
    assert capsys.readouterr().out.endswith("\nreproduced, bit for bit\n")


def test_a_resumed_run_is_reproduced(first: Run) -> None:
    argv = ["train", "--config", str(first.folder), "trainer.checkpoint_steps=2"]
    patch = on_call(Classifier, "training_step", 5, kill_self)
    assert in_fork(argv, patch) == -signal.SIGKILL
    assert in_fork(["train", "resume=latest"]) == 0
    [resumed] = run_folders(Path("runs"))
    assert weights(Run(resumed)) == weights(first)
    assert in_fork(["reproduce", resumed.name]) == 0


def test_nothing_differs_where_nothing_changed(
    first: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checked(first, capsys) == {}


def test_another_commit_and_uncommitted_changes_are_told(
    project: Path, first: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    made_at = first.read_manifest()["git"]["commit"]
    (project / "notes.txt").write_text("new")
    found = checked(first, capsys)
    assert found == {"code": {"git.dirty": {"then": False, "now": True}}}
    commit(project)
    assert checked(first, capsys)["code"]["git.commit"]["then"] == made_at
    git(project, "reset", "--hard", made_at)


def test_another_source_and_other_packages_and_machines_are_told(
    first: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packages, machine = {"torch": "1.0.0", "python": "3.0.0"}, {"threads": 99, "memory_bytes": 1}
    facts = {"source": "0" * 64, "packages": packages, "machine": machine}
    found = checked(doctored(first, tmp_path, precision="16-mixed", **facts), capsys)
    assert {part: set(keys) for part, keys in found.items()} == {
        "code": {"source"},
        "packages": {"packages.torch", "packages.python"},
        "machine": {"machine.threads", "precision"},
    }
    assert found["packages"]["packages.torch"] == {"then": "1.0.0", "now": torch.__version__}


def test_another_encoder_under_the_same_name_is_told(
    project: Path, first: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with changed(project / "encoder" / "model.safetensors", lambda data: data[:-1] + b"\x7f"):
        assert set(checked(first, capsys)) == {"encoder", "code"}


def test_other_data_are_told_and_nothing_is_trained(
    project: Path, first: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with changed(project / "reviews.csv", lambda data: data.replace(b"great", b"grand")):
        assert "fingerprints.train" in str(checked(first, capsys)["data"])
        assert main(["reproduce", str(first.folder)]) == 1
    out = capsys.readouterr().out
    assert "Data" in out
    assert out.endswith("the data are not those of the run, so nothing was trained\n")
    assert not Path("runs").exists()


def test_data_that_are_gone_are_told_before_any_training(
    project: Path, first: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "reviews.csv").rename(project / "moved.csv")
    try:
        assert main(["reproduce", str(first.folder)]) == 2
    finally:
        (project / "moved.csv").rename(project / "reviews.csv")
    err = capsys.readouterr().err
    assert f"textmill: error: what the run was made from is gone, in {first.folder}" in err
    assert str(project / "reviews.csv") in err
    assert "Traceback" not in err
    assert not any(Path.cwd().iterdir())


def test_a_run_that_was_not_judged_can_be_checked_only(
    first: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = doctored(first, tmp_path)
    run.metrics.unlink()
    assert main(["reproduce", str(run.folder)]) == 2
    assert "was not judged" in capsys.readouterr().err
    assert checked(run, capsys) == {}

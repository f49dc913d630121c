"""The run folder: made whole, found again, and closed."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import yaml

from textmill import runs
from textmill.errors import InputError, MachineError
from textmill.runs import Run, check_writable, create_run, find_run, write_json


def make_run(runs_dir: Path, name: str = "demo") -> Run:
    return create_run(runs_dir, name, {"seed": 1, "name": name}, ["seed=1"])


def test_a_new_run_holds_its_configuration_overrides_and_state(tmp_path: Path) -> None:
    run = create_run(tmp_path, "demo", {"zeta": 1, "alpha": "grün"}, ["zeta=1"])
    assert list(yaml.safe_load(run.config.read_text("utf-8")).items()) == [
        ("zeta", 1),
        ("alpha", "grün"),
    ]
    assert yaml.safe_load((run.folder / ".hydra/overrides.yaml").read_text()) == ["zeta=1"]
    manifest = run.read_manifest()
    assert (manifest["name"], manifest["state"]) == ("demo", "running")


def test_its_folder_is_named_by_date_time_and_name(tmp_path: Path) -> None:
    place = make_run(tmp_path).folder.relative_to(tmp_path)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d-demo", str(place))


def test_runs_of_one_second_do_not_share_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs.time, "strftime", lambda form: form.replace("%", ""))
    assert [make_run(tmp_path).folder.name for _ in range(3)] == [
        "H-M-S-demo",
        "H-M-S-demo-2",
        "H-M-S-demo-3",
    ]


def test_all_its_files_lie_in_its_folder(tmp_path: Path) -> None:
    run = Run(tmp_path)
    places = [run.config, run.manifest, run.last_checkpoint, run.best_checkpoint, run.history]
    places += [run.metrics, run.bundle, run.predictions("test")]
    assert len(set(places)) == len(places)
    assert all(place.is_relative_to(tmp_path) for place in places)


def test_a_run_that_cannot_be_written_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MachineError("the disk is full")

    monkeypatch.setattr(runs, "write_json", full)
    with pytest.raises(MachineError, match="the disk is full"):
        make_run(tmp_path)
    assert list(tmp_path.glob("*/*")) == []


def test_only_the_entries_given_change_in_the_manifest(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    before = run.read_manifest()
    run.update_manifest(seed=3, state="failed")
    assert run.read_manifest() == {**before, "seed": 3, "state": "failed"}


@pytest.mark.parametrize("content", ["", "{", "[1]", "3", '"text"', "null"])
def test_a_broken_manifest_is_told_in_one_line(tmp_path: Path, content: str) -> None:
    run = make_run(tmp_path)
    run.manifest.write_text(content)
    with pytest.raises(InputError, match=r"manifest can't be read, in .*manifest\.json"):
        run.read_manifest()


def test_latest_is_the_newest_finished_run(tmp_path: Path) -> None:
    first, second, third = (make_run(tmp_path, name) for name in ("first", "second", "third"))
    first.close("finished")
    second.close("finished")
    third.close("failed")
    assert (tmp_path / "latest").resolve() == second.folder
    assert third.read_manifest()["state"] == "failed"
    assert "ended" in third.read_manifest()


def test_latest_still_leads_to_the_run_when_the_runs_folder_is_moved(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs")
    run.close("finished")
    (tmp_path / "runs").rename(tmp_path / "moved")
    assert (tmp_path / "moved" / "latest" / "manifest.json").is_file()


def test_something_of_the_users_named_latest_is_told_and_stays(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest" / "mine").touch()
    run = make_run(tmp_path)
    with pytest.raises(MachineError, match="can't be made the latest"):
        run.close("finished")
    assert (tmp_path / "latest" / "mine").exists()
    assert run.read_manifest()["state"] == "finished"
    assert not list(tmp_path.glob(".latest*"))


def test_a_run_is_found_by_its_folder_and_by_latest(tmp_path: Path) -> None:
    old, new = make_run(tmp_path, "old"), make_run(tmp_path, "new")
    os.utime(old.manifest, (1, 1))
    assert find_run(str(old.folder), tmp_path) == old
    # A stopped run never became `latest`, and is the one to go on with.
    assert find_run("latest", tmp_path) == new


def test_a_run_is_found_by_its_name_and_by_what_its_path_ends_or_begins_with(
    tmp_path: Path,
) -> None:
    demo, _ = make_run(tmp_path, "demo"), make_run(tmp_path, "other")
    day, moment = demo.folder.relative_to(tmp_path).parts
    for path in ("demo", "dem", moment, f"{day}/{moment}", f"{tmp_path}/{day}/{moment[:-1]}"):
        assert find_run(path, tmp_path) == demo


def test_a_whole_name_goes_before_one_that_only_begins_like_it(tmp_path: Path) -> None:
    demo, _ = make_run(tmp_path, "demo"), make_run(tmp_path, "demo-large")
    assert find_run("demo", tmp_path) == demo
    with pytest.raises(InputError, match=r"2 runs are called 'de'.*choose one of them, as .*demo"):
        find_run("de", tmp_path)


@pytest.mark.parametrize("path", ["latest", "nowhere"])
def test_a_missing_run_is_told(tmp_path: Path, path: str) -> None:
    with pytest.raises(InputError, match="there is no run"):
        find_run(path, tmp_path / "runs")


def test_a_folder_that_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the folder is not a run"):
        find_run(str(tmp_path))


def test_checking_makes_no_folder(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_runs_folder_that_cannot_be_is_told_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for place in ("file", "file/runs", "dangling/runs"):
        with pytest.raises(MachineError, match="set runs_dir=FOLDER"):
            check_writable(tmp_path / place)
        with pytest.raises(MachineError, match="set runs_dir=FOLDER"):
            make_run(tmp_path / place)


def test_a_read_only_runs_folder_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs.os, "access", lambda *_: False)
    with pytest.raises(MachineError, match="the runs folder can't be written"):
        check_writable(tmp_path)


def test_json_is_standard_json(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"text": "grün"})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"text": "grün"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "b.json", float("nan"))
    assert not (tmp_path / "b.json").exists()


def test_latest_may_be_a_link_to_a_run_in_another_folder(tmp_path: Path) -> None:
    run = create_run(tmp_path / "elsewhere", "a", {}, [])
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "latest").symlink_to(run.folder, target_is_directory=True)
    assert find_run("latest", tmp_path / "runs").folder == run.folder

"""``textmill runs`` from the command line: what is printed, and what is told of bad input."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.runs_on_disk import TAGS, write_run
from textmill.cli import main
from textmill.runs import Run, create_run

Capture = pytest.CaptureFixture[str]
ODD = ["[red]a film[/red] \x1b[31m", "a dull film"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with finished runs, one that was not judged, and one that is broken."""
    folder = tmp_path_factory.mktemp("made")
    runs = folder / "runs"
    write_run(runs, name="first", strength=0.5, texts=ODD)
    write_run(runs, name="second", strength=1.5, lr=3e-4, seed=1, texts=ODD)
    write_run(runs, name="smaller", sizes={"train": 80, "validation": 60, "test": 40})
    write_run(runs, name="untested", sizes={"train": 80, "validation": 60})
    write_run(runs, name="tagged", labels=TAGS)
    stopped = create_run(runs, "stopped", {"name": "stopped", "data": {"name": "reviews"}}, [])
    stopped.close("interrupted")
    broken = create_run(runs, "broken", {"name": "broken"}, [])
    broken.manifest.write_text("{")
    (folder / "empty").mkdir()
    return folder


@pytest.fixture(autouse=True)
def work(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    shutil.copytree(made, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


def printed(capsys: Capture, *arguments: str) -> str:
    """What a command prints; that it succeeds is checked."""
    capsys.readouterr()
    assert main(["runs", *arguments]) == 0
    return capsys.readouterr().out


def run_named(name: str) -> Run:
    (folder,) = Path("runs").glob(f"*/*-{name}")
    return Run(folder)


def test_a_list_has_a_line_for_each_run_and_tells_of_broken_ones(capsys: Capture) -> None:
    assert main(["runs", "list"]) == 0
    output = capsys.readouterr()
    lines = output.out.splitlines()[2:]
    assert [line.split()[0].partition("/")[2].split("-")[-1] for line in lines] == sorted(
        ["first", "second", "smaller", "untested", "tagged", "stopped"],
        key=lambda name: run_named(name).folder.name,
    )
    f1 = json.loads(run_named("second").metrics.read_text())["test/f1_macro"]
    (second,) = [line for line in lines if "-second" in line]
    assert second.split()[1:5] == ["finished", "reviews", "tiny", "test"]
    assert f"{f1:.4f}" in second
    assert "left out: the run's manifest can't be read" in output.err
    assert len(output.err.splitlines()) == 1


def test_piped_lines_are_neither_wrapped_nor_coloured(capsys: Capture) -> None:
    metrics = [f"--metric={name}" for name in ("test/mcc", "test/ece", "train/seconds")]
    output = printed(capsys, "list", *metrics)
    assert "\x1b" not in output
    assert len(output.splitlines()) == 2 + 6
    assert "train/seconds" in output.splitlines()[0]


def test_a_list_is_filtered_and_sorted(capsys: Capture) -> None:
    output = printed(
        capsys,
        "list",
        "--filter",
        "test/f1_macro>0",
        "--filter",
        "data=reviews",
        "--json",
        "--sort",
        "test/f1_macro",
    )
    found = json.loads(output)
    scores = [one["metrics"]["test/f1_macro"] for one in found]
    assert scores == sorted(scores, reverse=True)
    assert {one["name"] for one in found} == {"first", "second", "smaller", "tagged"}
    assert found[0]["config"]["data.name"] == "reviews"


def test_a_list_in_which_nothing_is_left_says_so(capsys: Capture) -> None:
    assert main(["runs", "list", "--filter", "test/f1_macro>2"]) == 0
    assert "no run of 6" in capsys.readouterr().err
    assert main(["runs", "list", "--runs-dir", "empty", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_finished_run_is_shown_with_verdict_metrics_and_files(capsys: Capture) -> None:
    output = printed(capsys, "show", "second")
    manifest = run_named("second").read_manifest()
    metrics = json.loads(run_named("second").metrics.read_text())
    for sentence in manifest["results"]:
        assert sentence in output
    low, high = (metrics[f"test/accuracy_{end}"] for end in ("low", "high"))
    assert f"{metrics['test/accuracy']:.4f} ({low:.4f} to {high:.4f})" in output
    assert "80 train, 60 validation, 60 test" in output
    assert "512 MiB" in output
    assert f"{run_named('second').folder}/suspects.csv" in output


def test_a_stopped_run_is_shown_with_how_to_go_on(capsys: Capture) -> None:
    output = printed(capsys, "show", "stopped")
    assert "stopped is interrupted" in output
    assert "It has not been judged." in output
    assert f"textmill train resume={run_named('stopped').folder}" in output


def test_runs_of_a_search_are_told_as_its_trials(capsys: Capture) -> None:
    assert "Group" not in printed(capsys, "list")
    config = {"name": "ended", "data": {"name": "reviews"}}
    facts = {"group": "rates", "trial": 7, "parameters": {"optimizer.lr": 3e-4, "lora": None}}
    create_run(Path("runs"), "ended", config, [], facts=facts).close("pruned")
    table = printed(capsys, "list", "--filter", "group=rates").splitlines()
    assert "Group" in table[0]
    assert [line.split()[1:3] for line in table[2:]] == [["pruned", "rates"]]
    output = printed(capsys, "show", "ended")
    assert "A search ended it early" in output
    assert "resume=" not in output
    assert re.search(r"search +rates, trial 7 *\n", output)
    assert re.search(r"settings +optimizer.lr=0.0003, lora=null *\n", output)
    shown = json.loads(printed(capsys, "show", "ended", "--json"))
    assert shown["parameters"] == facts["parameters"]


def test_a_run_of_a_multirun_is_told_with_its_combination(capsys: Capture) -> None:
    facts = {"group": "11-30-00", "combination": ["optimizer.lr=0.1", "seed=2"]}
    create_run(Path("runs"), "one", {"name": "one"}, [], facts=facts).close("failed")
    output = printed(capsys, "show", "one")
    assert re.search(r"multirun +11-30-00 *\n", output)
    assert re.search(r"settings +optimizer.lr=0.1, seed=2 *\n", output)


def test_trackers_are_told_with_how_to_see_the_run_there(capsys: Capture) -> None:
    tracking = {"wandb": True, "mode": "offline", "project": "p", "tensorboard": True, "csv": True}
    tracking |= {"mlflow": True, "mlflow_uri": None}
    create_run(Path("runs"), "tracked", {"name": "tracked", "tracking": tracking}, [])
    output = printed(capsys, "show", "tracked")
    folder = run_named("tracked").folder
    assert f"textmill runs sync {folder} uploads it" in output
    assert f"tensorboard --logdir {folder}/tensorboard" in output
    assert f"sqlite:///{Path.cwd()}/runs/mlflow.db" in output
    assert f"{folder}/csv" in output


def test_a_shown_run_as_json_holds_what_is_known(capsys: Capture) -> None:
    record = json.loads(printed(capsys, "show", "first", "--json"))
    assert record["metrics"] == json.loads(run_named("first").metrics.read_text())
    assert record["verdict"] == run_named("first").read_manifest()["results"]
    assert Path(record["files"]["metrics"]).is_file()


def test_a_difference_is_told_by_its_key(capsys: Capture) -> None:
    lines = printed(capsys, "diff", "first", "second").splitlines()
    (rate,) = [line.split() for line in lines if line.startswith("optimizer.lr")]
    assert rate == ["optimizer.lr", "0.0001", "0.0003"]
    assert not [line for line in lines if "trainer." in line]


def test_other_data_and_packages_are_told(capsys: Capture) -> None:
    smaller = run_named("smaller")
    packages = {**smaller.read_manifest()["packages"], "torch": "0.0.1"}
    smaller.update_manifest(packages=packages)
    output = printed(capsys, "diff", "first", "smaller")
    assert "fingerprints.test" in output
    assert "packages.torch" in output
    assert "0.0.1" in output


def test_nothing_differs_between_a_run_and_its_copy(capsys: Capture) -> None:
    first = run_named("first")
    shutil.copytree(first.folder, first.folder.with_name("copy"))
    output = printed(capsys, "diff", "first", str(first.folder.with_name("copy")))
    assert output == "nothing differs in configuration, data and environment\n"


def test_compared_runs_are_printed_and_written_as_a_page(capsys: Capture) -> None:
    output = printed(capsys, "compare", "first", "second", "--html", "page.html")
    assert "Run second beats run first by" in output
    assert "Macro-F1 on the validation split" in output
    assert "Fixed, 5 of" in output
    assert "[red]a film[/red] �[31m" in output
    assert "\x1b" not in output
    page = Path("page.html").read_text("utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "[red]a film[/red]" in page


def test_a_report_is_made_anew_and_its_place_printed(capsys: Capture) -> None:
    report = run_named("first").report
    report.write_text("old")
    assert printed(capsys, "report", "first") == f"{report}\n"
    assert report.read_text("utf-8").startswith("<!DOCTYPE html>")
    output = printed(capsys, "report", "first", "--split", "validation")
    place, _, part = output.strip().partition("#")
    assert f'id="{part}"' in Path(place).read_text("utf-8")


def test_suspects_are_printed_with_where_to_correct_them(capsys: Capture) -> None:
    output = printed(capsys, "suspects", "first", "--most", "3")
    assert "3 of " in output
    assert f"{run_named('first').folder}/suspects.csv" in output
    assert "data.corrections=" in output
    assert "\x1b" not in output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], ("COMMAND", "textmill runs --help")),
        (["lst"], ("invalid choice: 'lst'", "compare")),
        (["list", "--runs-dir", "nowhere"], ("no folder of runs", "nowhere", "--runs-dir")),
        (["list", "--filter", "state"], ("'state' is no filter", "KEY=VALUE")),
        (["list", "--filter", "seed>high"], ("'high' is not a number",)),
        (["list", "--filter", "optimizer.rl=1"], ("'optimizer.rl'", "did you mean optimizer.lr?")),
        (["list", "--sort", "f1_macro"], ("no run has a metric 'f1_macro'", "test/f1_macro")),
        (["list", "--metric", "test/f1"], ("no run has a metric 'test/f1'", "did you mean")),
        (["show", "nowhere"], ("there is no run, in nowhere", "give the folder of a run")),
        (["show", "empty"], ("the folder is not a run", "empty", "config.yaml and manifest.json")),
        (["show", "broken"], ("manifest can't be read", "broken/manifest.json")),
        (["show", "s"], ("3 runs are called 's', or begin like that", "choose one")),
        (["show", "latest", "--runs-dir", "empty"], ("there is no run", "empty")),
        (["diff", "first"], ("required: B", "textmill runs diff --help")),
        (["compare", "first"], ("two runs or more are needed",)),
        (["compare", "first", "first"], ("all different",)),
        (["compare", "first", "empty"], ("the folder is not a run",)),
        (["compare", "first", "stopped"], ("has not been judged", "stopped", "runs list")),
        (["compare", "first", "smaller"], ("different data", "test splits differ", "runs diff")),
        (["compare", "first", "untested"], ("judged on test, the other on validation",)),
        (["compare", "first", "tagged"], ("different labels",)),
        (
            ["compare", "first", "second", "--html", "nowhere/page.html"],
            ("there is no such folder", "nowhere/page.html"),
        ),
        (["report", "untested", "--split", "test"], ("not judged on", "'test'", "validation")),
        (["report", "stopped", "--split", "test"], ("not judged on", "finished run")),
        (["report", "stopped"], ("ended before it had read its data",)),
        (["suspects", "stopped"], ("ended before it had read its data",)),
        (["suspects", "first", "--most", "0"], ("0 is not 1 or more",)),
        (["sync", "first"], ("W&B has recorded nothing", "tracking=wandb")),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_changes_nothing(
    arguments: list[str], says: tuple[str, ...], work: Path, capsys: Capture
) -> None:
    before = contents(work)
    capsys.readouterr()
    assert main(["runs", *arguments]) == 2
    output = capsys.readouterr()
    complaints = [line for line in output.err.splitlines() if "warning" not in line]
    assert output.out == ""
    assert len(complaints) == 1
    assert complaints[0].startswith("textmill: error: ")
    for part in says:
        assert part in complaints[0]
    assert contents(work) == before


def test_a_run_without_suspects_is_told(capsys: Capture) -> None:
    run_named("first").table("suspects").unlink()
    assert main(["runs", "suspects", "first"]) == 2
    assert "no list of suspected labels" in capsys.readouterr().err


def test_broken_predictions_are_told(capsys: Capture) -> None:
    run_named("first").predictions("test").write_bytes(b"PAR1")
    assert main(["runs", "compare", "first", "second"]) == 2
    assert "the file can't be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", ["list", "show", "diff", "compare", "report", "suspects", "sync"]
)
def test_each_command_helps_with_an_example(command: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["runs", command, "--help"])
    assert f"textmill runs {command}" in capsys.readouterr().out.partition("examples:")[2]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }

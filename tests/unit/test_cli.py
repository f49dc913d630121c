"""The command line: verbs, help, and errors in one line. Verbs are stood for by small ones."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra

from textmill import cli
from textmill.cli import VERBS, main
from textmill.configuration.schema import TrainConfig
from textmill.errors import InputError, MachineError
from textmill.version import __version__

HEAVY = (
    *("torch", "transformers", "lightning", "datasets", "sklearn", "pandas", "numpy", "pyarrow"),
    *("optuna", "wandb", "matplotlib"),
)

Act = Callable[..., Any]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    GlobalHydra.instance().clear()


@pytest.fixture
def set_verb(monkeypatch: pytest.MonkeyPatch) -> Callable[[Act], None]:
    """Gives the command line two verbs that call a function: ``plain``, and ``train``."""

    def set_to(act: Act) -> None:
        module = SimpleNamespace(main=act, run=act)
        monkeypatch.setitem(sys.modules, "tests.unit.stand_in", module)  # type: ignore[arg-type]
        plain = cli.Verb("tests.unit.stand_in", "")
        flagged = cli.Verb("tests.unit.stand_in", "", "train", {"json": ""})
        monkeypatch.setattr(cli, "VERBS", {**VERBS, "plain": plain, "train": flagged})

    return set_to


def imported(*arguments: str) -> set[str]:
    """The modules that a process of the command line has imported at its end."""
    code = (
        "import atexit, sys\nfrom textmill.cli import main\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "main(sys.argv[1:])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    return set(result.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("verb", [None, *VERBS])
def test_help_imports_nothing_heavy(verb: str | None) -> None:
    modules = imported("--help") if verb is None else imported(verb, "--help")
    assert not modules & {*HEAVY, "hydra"}
    assert "textmill.cli" in modules


@pytest.mark.parametrize(
    "command",
    [
        "train --cfg job --resolve",
        "evaluate --cfg job",
        "sweep sweep=smoke --cfg job",
        "config",
        "config trainer.monitor",
        "config schema",
    ],
)
def test_what_only_shows_the_configuration_imports_nothing_heavy(command: str) -> None:
    modules = imported(*command.split())
    assert not modules & set(HEAVY)


def test_a_wrong_configuration_is_told_before_anything_heavy_is_imported() -> None:
    modules = imported("train", "seed=x")
    assert "hydra" in modules
    assert not modules & set(HEAVY)


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_names_every_verb_on_standard_output(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([flag]) == 0
    captured = capsys.readouterr()
    assert all(f"  {name} " in captured.out for name in VERBS)
    assert captured.err == ""


def test_without_arguments_the_help_goes_to_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "usage: textmill VERB" in captured.err


@pytest.mark.parametrize("verb", [name for name, verb in VERBS.items() if verb.config])
@pytest.mark.parametrize("flags", [["--help"], ["-h"], ["data=cola", "--help"]])
def test_each_verb_has_help(
    verb: str, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, *flags]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"usage: textmill {verb} ")
    assert captured.err == ""


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"textmill {__version__}\n"


@pytest.mark.parametrize(
    ("verb", "hint"),
    [("trian", "did you mean train?"), ("Predict", "did you mean predict?"), ("zz", "data, ev")],
)
def test_an_unknown_verb_is_told_with_those_there_are(
    verb: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb]) == 2
    captured = capsys.readouterr()
    assert f"there is no verb {verb!r}" in captured.err
    assert hint in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("verb", ["plain", "train"])
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError("no text", where="a.csv", hint="add some"), 2),
        (MachineError("the disk is full"), 1),
        (InputError.all_of([InputError("one"), InputError("two")]), 2),
    ],
)
def test_errors_are_a_line_each_with_their_exit_status(
    verb: str,
    error: InputError | MachineError,
    status: int,
    set_verb: Callable[[Act], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise error

    set_verb(fail)
    assert main([verb]) == status
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [f"textmill: error: {line}" for line in error.problems]
    assert captured.out == ""


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            OSError(5, "Input/output error", "a.csv"),
            "the machine refused (Input/output error), in a.csv: try again, or add --debug",
        ),
        (OSError("odd"), "the machine refused (odd): try again, or add --debug"),
    ],
)
def test_a_refusal_of_the_machine_that_nobody_foresaw_is_a_line_too(
    error: OSError,
    line: str,
    set_verb: Callable[[Act], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise error

    set_verb(fail)
    assert main(["plain"]) == 1
    assert capsys.readouterr().err == f"textmill: error: {line}\n"


@pytest.mark.parametrize("arguments", [["--debug", "plain"], ["plain", "--debug"]])
def test_debug_shows_the_traceback_and_keeps_the_status(
    arguments: list[str], set_verb: Callable[[Act], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def fail_here(_: Sequence[str]) -> int:
        raise InputError("no text")

    set_verb(fail_here)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert "Traceback" in captured.err
    assert "in fail_here" in captured.err
    assert captured.err.endswith("textmill: error: no text\n")


def test_a_text_of_the_users_may_be_called_debug(set_verb: Callable[[Act], None]) -> None:
    given: list[Sequence[str]] = []

    def keep(argv: Sequence[str]) -> int:
        given.append(argv)
        return 0

    set_verb(keep)
    assert main(["plain", "--debug", "latest", "--", "--debug"]) == 0
    assert given == [["latest", "--", "--debug"]]


def test_an_error_that_nobody_foresaw_is_not_hidden(set_verb: Callable[[Act], None]) -> None:
    def fail(*_: object, **__: object) -> int:
        raise ZeroDivisionError("a bug")

    set_verb(fail)
    for verb in ("plain", "train"):
        with pytest.raises(ZeroDivisionError):
            main([verb])


@pytest.mark.parametrize("verb", ["plain", "train"])
def test_ctrl_c_is_a_line_and_status_130(
    verb: str, set_verb: Callable[[Act], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    set_verb(interrupt)
    assert main([verb]) == 130
    assert capsys.readouterr().err == "textmill: error: interrupted\n"


def test_a_plain_verbs_status_is_the_commands(set_verb: Callable[[Act], None]) -> None:
    set_verb(lambda _: 3)
    assert main(["plain"]) == 3


@pytest.mark.parametrize(
    ("arguments", "seed", "json"),
    [
        (["seed=5"], 5, False),
        (["--json", "seed=6"], 6, True),
        (["seed=7", "--json"], 7, True),
    ],
)
def test_a_verb_gets_the_checked_configuration_and_its_switches(
    arguments: list[str], seed: int, json: bool, set_verb: Callable[[Act], None]
) -> None:
    calls: list[tuple[int, dict[str, bool]]] = []
    set_verb(lambda composed, **flags: calls.append((composed.config.seed, flags)))
    assert main(["train", *arguments]) == 0
    assert calls == [(seed, {"json": json})]


def test_the_configuration_can_be_seen_without_running(
    set_verb: Callable[[Act], None], capsys: pytest.CaptureFixture[str]
) -> None:
    set_verb(lambda *_: pytest.fail("the verb ran"))
    assert main(["train", "--cfg", "job", "--resolve", "seed=3"]) == 0
    captured = capsys.readouterr()
    config = TrainConfig.model_validate(yaml.safe_load(captured.out))
    assert (config.seed, config.name) == (3, "movie_reviews-minilm")
    assert captured.err == ""


@pytest.mark.parametrize("command", [["-m", "textmill"], ["-m", "textmill.cli"]])
def test_it_runs_as_a_module(command: list[str]) -> None:
    result = subprocess.run(
        [sys.executable, *command, "train", "sed=1"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert result.stderr == "textmill: error: there is no key 'sed': did you mean seed?\n"
    assert result.stdout == ""


def test_a_reader_of_any_verbs_answers_may_leave() -> None:
    script = (
        "from textmill import cli\n"
        "import textmill.describe as verb\n"
        "verb.main = lambda argv: print('x' * 200_000) or 0\n"
        "cli.VERBS['plain'] = cli.Verb('textmill.describe', 'says much')\n"
        "raise SystemExit(cli.main(['plain']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == b""

"""``textmill explain``, by its command line."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bundles import MULTI, make_bundle
from textmill.attribution import attribute
from textmill.errors import TextmillError
from textmill.explain import main
from textmill.explaining.record import Attribution
from textmill.predictor import Predictor

TEXTS = ["a wonderful film", "a terrible film, isn't it?"]


@pytest.fixture(scope="module")
def bundles(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    make_bundle(tiny_encoder, folder / "single")
    make_bundle(tiny_encoder, folder / "multi", MULTI)
    make_bundle(tiny_encoder, folder / "pairs", text_columns=("question", "answer"))
    return folder


def explain(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def records(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def problems_of(*arguments: object) -> list[str]:
    """What is told, a line for each problem."""
    with pytest.raises(TextmillError) as caught:
        main([str(argument) for argument in arguments])
    assert all("\n" not in line for line in caught.value.problems)
    return list(caught.value.problems)


def give_stdin(monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content.encode())))


class TestShown:
    def test_json_has_a_record_for_each_text(
        self, bundles: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        found = records(explain(capsys, bundles / "single", *TEXTS, "--json"))
        expected = attribute(Predictor.from_bundle(bundles / "single"), TEXTS)
        assert [one["text"] for one in found] == TEXTS
        for one, other in zip(found, expected, strict=True):
            assert Attribution.from_record(one).label == other.label
            assert one["score"] == pytest.approx(other.score, abs=1e-5)
            assert [word["text"] for word in one["words"]] == [word.text for word in other.words]

    def test_a_piped_answer_is_plain_text(self, bundles: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "textmill", "explain", str(bundles / "single"), *TEXTS],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.count("The words add ") == 2
        assert "wonderful[" in done.stdout
        assert "\x1b" not in done.stdout
        assert done.stderr == ""

    def test_lines_of_standard_input(
        self, bundles: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        give_stdin(monkeypatch, "\n".join(TEXTS))
        found = records(explain(capsys, bundles / "single", "--json"))
        assert [one["text"] for one in found] == TEXTS

    def test_pairs(
        self, bundles: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        given = records(explain(capsys, bundles / "pairs", "one", "--pair", "a film", "--json"))
        give_stdin(monkeypatch, "one\ta film\n")
        assert records(explain(capsys, bundles / "pairs", "--json")) == given
        assert (given[0]["text"], given[0]["text_pair"]) == ("one", "a film")
        assert {word["side"] for word in given[0]["words"]} == {0, 1}

    def test_latest_and_several_labels(
        self,
        bundles: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        (tmp_path / "runs" / "latest").mkdir(parents=True)
        (tmp_path / "runs" / "latest" / "model").symlink_to(bundles / "multi")
        monkeypatch.chdir(tmp_path)
        found = records(explain(capsys, "latest", TEXTS[0], "--json", "--device", "cpu"))
        (expected,) = Predictor.from_bundle(bundles / "multi").predict(TEXTS[:1])
        assert [one["label"] for one in found] == (expected.label or [found[0]["label"]])

    def test_the_label_that_was_asked_for(
        self, bundles: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for label in MULTI.names:
            (one,) = records(
                explain(capsys, bundles / "single", TEXTS[0], "--label", label, "--json")
            )
            assert one["label"] == label

    def test_a_page(
        self, bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        page = tmp_path / "page.html"
        page.write_text("old")
        main([str(bundles / "single"), "a <script> film", TEXTS[0], "--html", str(page)])
        captured = capsys.readouterr()
        assert captured.out.count("The words add ") == 2
        assert f"wrote {page}" in captured.err
        content = page.read_text()
        assert content.count('<div class="attribution">') == 2
        assert ">wonderful</mark>" in content
        assert "&lt;</mark>" in content
        assert str(bundles / "single") in content

    def test_a_reader_that_leaves(self, bundles: Path) -> None:
        command = f"{sys.executable} -m textmill explain {bundles / 'single'} --json"
        done = subprocess.run(
            ["bash", "-c", f"yes film | head -40 | {command} | head -n 1"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(done.stdout)["text"] == "film"
        assert done.stderr == ""


class TestWrongInput:
    def test_an_unknown_label(self, bundles: Path) -> None:
        (problem,) = problems_of(bundles / "single", "a film", "--label", "goof")
        assert "no label 'goof'" in problem
        assert "did you mean good?" in problem

    def test_no_bundle(self, tmp_path: Path) -> None:
        (problem,) = problems_of(tmp_path / "nothing", "a film")
        assert "no such bundle" in problem

    def test_every_empty_text_is_told(self, bundles: Path) -> None:
        told = problems_of(bundles / "single", "a film", "", " \n")
        assert len(told) == 2
        assert "empty text, in text 2" in told[0]
        assert "text 3" in told[1]

    def test_an_empty_line(self, bundles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        give_stdin(monkeypatch, "a film\n\nanother\n")
        (problem,) = problems_of(bundles / "single", "--json")
        assert "line 2 of standard input" in problem

    def test_an_empty_pair(self, bundles: Path) -> None:
        (problem,) = problems_of(bundles / "pairs", "", "--pair", " ")
        assert "empty text" in problem
        assert main([str(bundles / "pairs"), "", "--pair", "a film"]) == 0

    def test_a_page_that_can_not_be_written(
        self, bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for path, said in ((tmp_path, "is a folder"), (tmp_path / "no" / "x.html", "no such")):
            (problem,) = problems_of(bundles / "single", "a film", "--html", path)
            assert said in problem
        assert capsys.readouterr().out == ""

    def test_no_texts(self, bundles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", None)
        (problem,) = problems_of(bundles / "single")
        assert "there are no texts: give TEXT arguments" in problem

    def test_a_pair_for_a_bundle_of_single_texts(self, bundles: Path) -> None:
        assert "leave --pair out" in problems_of(bundles / "single", "a", "--pair", "b")[0]
        assert "pairs of texts" in problems_of(bundles / "pairs", "a")[0]

    def test_an_unknown_flag_points_to_the_help(self) -> None:
        (problem,) = problems_of("bundle", "a", "--htm1", "x")
        assert "see textmill explain --help" in problem

"""``textmill predict``: every text gets its answer, from wherever it comes and whatever happens."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import torch

from tests.bundles import MULTI, make_bundle
from tests.peak_memory import measure_predict, write_short_lines
from textmill import prediction_files
from textmill.errors import MachineError, TextmillError
from textmill.part_file import PartFile
from textmill.predict import main
from textmill.predictor import Predictor

COMMAND = [sys.executable, "-m", "textmill", "predict"]
TEXTS = ["a wonderful film", "a terrible film", "the plot is clever", "I hated it"]

Run = Callable[..., bytes]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """As the commands that run here, so that both give the same bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def bundles(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    make_bundle(tiny_encoder, folder / "single")
    make_bundle(tiny_encoder, folder / "multi", MULTI)
    make_bundle(tiny_encoder, folder / "pairs", text_columns=("question", "answer"))
    return folder


@pytest.fixture(scope="module")
def single(bundles: Path) -> Path:
    return bundles / "single"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answers_of(output: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.splitlines()]


def give_stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))


def predict_file(bundle: Path, source: Path, output: str, *flags: str) -> bytes:
    assert main([str(bundle), "--input", str(source), "--output", output, *flags]) == 0
    return Path(output).read_bytes()


def problems_of(*arguments: object) -> str:
    """What is told, a line for each problem."""
    with pytest.raises(TextmillError) as caught:
        main([str(argument) for argument in arguments])
    assert all("\n" not in line for line in caught.value.problems)
    return "\n".join(caught.value.problems)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


class TestArguments:
    def test_each_text_gets_a_line(self, single: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([str(single), *TEXTS]) == 0
        output = capsys.readouterr()
        expected = Predictor.from_bundle(single).predict(TEXTS)
        assert answers_of(output.out) == [
            {"label": found.label, "score": float(f"{found.score:.6g}")} for found in expected
        ]
        assert output.err == ""

    def test_scores_and_text(self, single: Path, capsys: pytest.CaptureFixture[str]) -> None:
        main([str(single), "--scores", "--text", "ein schöner Film"])
        (answer,) = answers_of(capsys.readouterr().out)
        assert list(answer) == ["label", "score", "scores", "text"]
        assert list(answer["scores"]) == ["bad", "fair", "good"]  # type: ignore[call-overload]
        assert sum(answer["scores"].values()) == pytest.approx(1, abs=1e-5)  # type: ignore[attr-defined]
        assert answer["text"] == "ein schöner Film"

    def test_several_labels(self, bundles: Path, capsys: pytest.CaptureFixture[str]) -> None:
        main([str(bundles / "multi"), "--scores", *TEXTS])
        for answer in answers_of(capsys.readouterr().out):
            scores = answer["scores"]
            assert answer["label"] == [name for name in scores if scores[name] >= 0.5]  # type: ignore[attr-defined,index]

    def test_a_pair(self, bundles: Path, capsys: pytest.CaptureFixture[str]) -> None:
        main([str(bundles / "pairs"), "a film", "--pair", "a story", "--text", "--scores"])
        (answer,) = answers_of(capsys.readouterr().out)
        (expected,) = Predictor.from_bundle(bundles / "pairs").predict([("a film", "a story")])
        assert answer["scores"] == pytest.approx(expected.scores, rel=1e-5)
        assert (answer["text"], answer["text_pair"]) == ("a film", "a story")

    def test_a_text_that_is_not_unicode(self, single: Path) -> None:
        assert "whole characters" in problems_of(single, "caf\udce9")

    def test_help_is_instant(self) -> None:
        code = "import sys\ntry:\n main(['--help'])\nfinally:\n assert 'torch' not in sys.modules"
        done = subprocess.run(
            [sys.executable, "-c", f"from textmill.predict import main\n{code}"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "--resume" in done.stdout


class TestStandardInput:
    def test_each_line_gets_a_line_also_an_empty_one(
        self,
        single: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        lines = ["a film", "", "the\u2028cast", " ", "\ttabs\tstay", "the last, without an end"]
        give_stdin(monkeypatch, "\r\n".join(lines).encode())
        main([str(single), "--text"])
        answers = answers_of(capsys.readouterr().out.replace("\u2028", "\\u2028"))
        assert [answer["text"] for answer in answers] == lines
        assert all(answer["label"] for answer in answers)

    @pytest.mark.parametrize("content", [b"", b"\n", b"one\n", b"one\n\n", b"\xef\xbb\xbfone"])
    def test_as_many_answers_as_lines(
        self,
        single: Path,
        content: bytes,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        give_stdin(monkeypatch, content)
        main([str(single), "--text"])
        found = [answer["text"] for answer in answers_of(capsys.readouterr().out)]
        assert found == content.decode("utf-8-sig").splitlines()

    def test_characters_and_lines_over_the_edges_of_reads(
        self,
        single: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        lines = [f"{index} ünïcödé 良い 😀" for index in range(20)]
        monkeypatch.setattr("textmill.text_input.CHUNK", 7)
        give_stdin(monkeypatch, "\n".join(lines).encode("utf-16"))
        main([str(single), "--text", "--encoding", "utf-16"])
        assert [answer["text"] for answer in answers_of(capsys.readouterr().out)] == lines

    def test_pairs_are_separated_by_a_tab(
        self,
        bundles: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        give_stdin(monkeypatch, b"one\ttwo\nthree\t\n")
        main([str(bundles / "pairs"), "--text"])
        answers = answers_of(capsys.readouterr().out)
        assert [(a["text"], a["text_pair"]) for a in answers] == [("one", "two"), ("three", "")]

    @pytest.mark.parametrize("line", [b"no tab", b"two\ttabs\there"])
    def test_a_line_that_is_no_pair(
        self, bundles: Path, line: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        give_stdin(monkeypatch, b"one\ttwo\n" + line)
        problem = problems_of(bundles / "pairs")
        assert "line 2 of standard input" in problem
        assert "exactly one tab" in problem

    def test_bytes_that_are_no_text(self, single: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        give_stdin(monkeypatch, b"one\ntwo\ncaf\xe9\n")
        problem = problems_of(single)
        assert "line 3 of standard input" in problem
        assert "--encoding" in problem

    def test_a_terminal_without_texts(self, single: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        give_stdin(monkeypatch, b"")
        monkeypatch.setattr("sys.stdin.isatty", lambda: True)
        assert "there are no texts: give TEXT arguments" in problems_of(single)

    def test_a_slow_writer_gets_answers_at_once_and_a_reader_may_leave(self, single: Path) -> None:
        with subprocess.Popen(
            [*COMMAND, str(single), "--text"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdin
            assert process.stdout
            assert process.stderr
            for text in TEXTS[:2]:
                process.stdin.write(f"{text}\n".encode())
                process.stdin.flush()
                assert json.loads(process.stdout.readline())["text"] == text
            process.stdout.close()
            process.stdin.write(b"one more\n")
            process.stdin.close()
            assert process.wait(60) == 0
            assert process.stderr.read() == b""


def write_table(path: Path, texts: list[str | None], name: str = "text") -> Path:
    """Writes texts, with a second column, in the format that the file's name asks for."""
    rows = [{"id": index, name: text} for index, text in enumerate(texts)]
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        return path
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", encoding="utf-8", newline="") as file:  # type: ignore[operator]
        if ".jsonl" in path.name:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        else:
            writer = csv.writer(file, delimiter="\t" if ".tsv" in path.name else ",")
            writer.writerows([["id", name], *(row.values() for row in rows)])
    return path


class TestFiles:
    @pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet", "csv.gz", "jsonl.gz"])
    def test_each_row_of_each_format_gets_a_row(
        self, single: Path, folder: Path, ending: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(prediction_files, "WINDOW", 3)
        texts = [*TEXTS, 'two\nlines, "quoted"', "tab\there", "良い"]
        source = write_table(folder / f"in.{ending}", [*texts])
        content = predict_file(single, source, "out.jsonl", "--text")
        answers = answers_of(content.decode())
        assert [answer["text"] for answer in answers] == texts
        found = Predictor.from_bundle(single).predict(texts)
        assert [answer["label"] for answer in answers] == [entry.label for entry in found]
        assert [answer["score"] for answer in answers] == pytest.approx(
            [entry.score for entry in found], abs=1e-5
        )
        assert names_in(folder) == {f"in.{ending}", "out.jsonl"}

    def test_what_it_says(
        self, single: Path, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        predict_file(single, write_table(folder / "in.csv", [*TEXTS]), "out.csv")
        assert capsys.readouterr() == ("", "textmill: wrote 4 predictions to out.csv\n")

    @pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
    def test_a_row_without_text_keeps_its_place_and_is_counted(
        self, single: Path, folder: Path, ending: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        texts = ["a film", "  ", "a cast", "" if ending == "csv" else None]
        source = write_table(folder / f"in.{ending}", texts)
        content = predict_file(single, source, "out.jsonl", "--text", "--scores")
        answers = answers_of(content.decode())
        assert [answer["text"] for answer in answers] == ["a film", None, "a cast", None]
        assert answers[1] == {"label": None, "score": None, "scores": None, "text": None}
        assert "2 of the rows had no text" in capsys.readouterr().err

    def test_pairs(self, bundles: Path, folder: Path) -> None:
        (folder / "in.csv").write_text("answer,question\nb,a film\n,a cast\n")
        content = predict_file(bundles / "pairs", folder / "in.csv", "out.jsonl", "--text")
        first, second = answers_of(content.decode())
        assert (first["text"], first["text_pair"]) == ("a film", "b")
        assert second["label"] is None

    def test_the_only_column_is_the_text(self, single: Path, folder: Path) -> None:
        (folder / "in.csv").write_text("sentence\na film\n")
        assert b"a film" in predict_file(single, folder / "in.csv", "out.csv", "--text")

    @pytest.mark.parametrize("column", ["sentence", "1"])
    def test_a_column_by_name_or_number(self, single: Path, folder: Path, column: str) -> None:
        source = write_table(folder / "in.csv", ["a film"], name="sentence")
        flags = ("--text", "--text-column", column)
        assert b"a film" in predict_file(single, source, "out.csv", *flags)

    def test_a_file_without_header_as_the_flags_say(self, single: Path, folder: Path) -> None:
        (folder / "in.dat").write_bytes('1;"caf\xe9\n2;a cast\n'.encode("latin-1"))
        flags = ["--format", "csv", "--delimiter", ";", "--no-header", "--no-quoting"]
        more = ["--encoding", "latin-1", "--text-column", "1", "--text"]
        content = predict_file(single, folder / "in.dat", "out.jsonl", *flags, *more)
        assert [answer["text"] for answer in answers_of(content.decode())] == ['"café', "a cast"]

    def test_numbers_are_texts(self, single: Path, folder: Path) -> None:
        (folder / "in.jsonl").write_text('{"text": 7}\n{"text": NaN}\n{"other": 1}\n')
        content = predict_file(single, folder / "in.jsonl", "out.jsonl", "--text")
        assert [answer["text"] for answer in answers_of(content.decode())] == ["7", None, None]

    def test_a_header_alone(self, single: Path, folder: Path) -> None:
        (folder / "in.csv").write_text("text\n")
        assert predict_file(single, folder / "in.csv", "out.csv") == b"label,score\n"

    @pytest.mark.parametrize("ending", ["csv", "jsonl.gz", "parquet"])
    def test_the_same_input_gives_the_same_bytes(
        self, single: Path, folder: Path, ending: str
    ) -> None:
        source = write_short_lines(folder / "in.csv", 500)
        first = predict_file(single, source, f"first.{ending}", "--scores")
        assert predict_file(single, source, f"second.{ending}", "--scores") == first

    @pytest.mark.parametrize("ending", ["csv", "jsonl.gz", "parquet"])
    def test_a_terminal_sees_how_far_it_is(
        self,
        single: Path,
        folder: Path,
        ending: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        source = write_table(folder / f"in.{ending}", [*TEXTS])
        monkeypatch.setattr("sys.stderr.isatty", lambda: True)
        predict_file(single, source, "out.csv")
        output = capsys.readouterr()
        lines = 5 if ending == "csv" else 4
        assert f"4/{lines}" in output.err
        assert output.out == ""


class TestBreakingOff:
    FORMATS = ("csv", "tsv", "jsonl", "csv.gz", "parquet")

    @pytest.mark.parametrize("ending", FORMATS)
    @pytest.mark.parametrize("after", [0, 1, 4])
    def test_going_on_gives_the_bytes_of_an_unbroken_run(
        self,
        single: Path,
        folder: Path,
        ending: str,
        after: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(prediction_files, "WINDOW", 32)
        source = write_short_lines(folder / "in.csv", 150)
        whole = predict_file(single, source, f"whole.{ending}", "--text", "--scores")
        output = f"broken.{ending}"
        _break_off(single, source, output, after, monkeypatch)
        assert names_in(folder) >= {f"{output}.part", f"{output}.part.json"}
        assert not Path(output).exists()
        flags = ("--text", "--scores", "--resume")
        assert predict_file(single, source, output, *flags) == whole
        assert names_in(folder) == {"in.csv", f"whole.{ending}", output}

    def test_rows_without_text_are_counted_over_the_break(
        self,
        single: Path,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(prediction_files, "WINDOW", 2)
        source = write_table(folder / "in.csv", ["", "a", "", "b", "", "c"])
        _break_off(single, source, "out.csv", 2, monkeypatch)
        predict_file(single, source, "out.csv", "--text", "--scores", "--resume")
        told = capsys.readouterr().err
        assert "wrote 6 predictions" in told
        assert "3 of the rows had no text" in told

    @pytest.mark.slow
    @pytest.mark.parametrize("ending", ["csv", "parquet"])
    def test_kill_9_and_going_on(self, single: Path, folder: Path, ending: str) -> None:
        source = write_short_lines(folder / "in.csv", 40_000)
        command = [*COMMAND, str(single), "--input", str(source), "--scores", "--output"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        output = folder / f"out.{ending}"
        record = Path(f"{output}.part.json")
        with subprocess.Popen([*command, str(output)], env=environment) as process:
            while not (record.exists() and record.read_bytes().count(b"\n") > 4):
                assert process.poll() is None
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        assert not output.exists()
        assert Path(f"{output}.part").stat().st_size > 0
        subprocess.run([*command, str(output), "--resume"], env=environment, check=True)
        subprocess.run([*command, f"whole.{ending}"], env=environment, check=True)
        assert output.read_bytes() == Path(f"whole.{ending}").read_bytes()
        assert names_in(folder) == {"in.csv", output.name, f"whole.{ending}"}

    def test_resuming_what_never_began_is_starting(self, single: Path, folder: Path) -> None:
        source = write_table(folder / "in.csv", [*TEXTS])
        first = predict_file(single, source, "first.csv")
        assert predict_file(single, source, "second.csv", "--resume") == first

    def test_a_broken_off_output_is_not_overwritten_unasked(
        self, single: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = write_table(folder / "in.csv", [*TEXTS])
        _break_off(single, source, "out.csv", 0, monkeypatch)
        arguments = (single, "--input", source, "--output", "out.csv")
        assert "go on with --resume, or start anew with --force" in problems_of(*arguments)
        predict_file(single, source, "out.csv", "--force")
        assert names_in(folder) == {"in.csv", "out.csv"}

    def test_only_the_same_is_gone_on_with(
        self, single: Path, bundles: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(prediction_files, "WINDOW", 2)
        source = write_table(folder / "in.csv", [*TEXTS])
        _break_off(single, source, "out.csv", 1, monkeypatch)
        same = ("--input", source, "--output", "out.csv", "--resume", "--text", "--scores")
        before = {path: path.read_bytes() for path in folder.iterdir()}
        other_bundle = problems_of(bundles / "multi", *same)
        assert "made with another bundle" in other_bundle
        assert "another --batch-size" in problems_of(single, *same, "--batch-size", 2)
        assert "--text-column" in problems_of(single, *same, "--text-column", 0)
        assert "--scores and --text" in problems_of(single, *same[:-1])
        assert {path: path.read_bytes() for path in folder.iterdir()} == before
        write_table(source, [*TEXTS, "one more"])
        assert "another input" in problems_of(single, *same)


def _break_off(
    bundle: Path, source: Path, output: str, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks off behind some windows, in the middle of writing the next one."""
    append = PartFile.append
    left = [after + 1]

    def half(part: PartFile, content: bytes, *arguments: object, **named: object) -> object:
        if not left[0]:
            with part.path.open("ab") as file:
                file.write(content[: len(content) // 2])
            raise KeyboardInterrupt
        left[0] -= 1
        return append(part, content, *arguments, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(PartFile, "append", half)
        with pytest.raises(KeyboardInterrupt):
            predict_file(bundle, source, output, "--text", "--scores")


class TestBadInput:
    @pytest.fixture
    def source(self, folder: Path) -> Path:
        return write_table(folder / "in.csv", [*TEXTS])

    @pytest.fixture(autouse=True)
    def _nothing_is_left(self, folder: Path) -> Iterator[None]:
        yield
        assert not {name for name in names_in(folder) if "out.csv" in name}

    def told(self, bundle: Path, source: object, *flags: object) -> str:
        return problems_of(bundle, "--input", source, "--output", "out.csv", *flags)

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ([], "required: BUNDLE"),
            (["b", "a", "--scoers"], "unrecognized arguments: --scoers"),
            (["b", "a", "--batch-size", "0"], "not 1 or more"),
            (["b", "a", "--batch-size", "many"], "--batch-size"),
            (["b", "--input", "in.csv"], "--input needs --output"),
            (["b", "a", "--output", "out.csv"], "--output needs --input"),
            (["b", "a", "--resume"], "--resume needs --input"),
            (["b", "a", "--text-column", "t"], "--text-column needs --input"),
            (["b", "a", "--input", "x", "--output", "out.csv"], "give one of them"),
            (["b", "one", "two", "--pair", "p"], "--pair needs exactly one TEXT"),
            (["b", "a", "--encoding", "utf-9"], "unknown encoding 'utf-9'"),
            (["b", "--input", "x", "--output", "y", "--format", "xlsx"], "invalid choice"),
        ],
    )
    def test_arguments(self, arguments: list[str], said: str) -> None:
        assert said in problems_of(*arguments)

    def test_no_such_bundle(self, folder: Path, source: Path) -> None:
        assert "no such bundle" in self.told(folder / "nothing", source)

    def test_a_bundle_without_weights(
        self, tiny_encoder: Path, tmp_path: Path, source: Path
    ) -> None:
        bundle = make_bundle(tiny_encoder, tmp_path / "bundle")
        (bundle / "model.safetensors").unlink()
        assert "lacks model.safetensors" in self.told(bundle, source)

    def test_a_device_that_is_none(self, single: Path, source: Path) -> None:
        assert "unknown device 'gpu'" in self.told(single, source, "--device", "gpu")

    def test_pairs_and_single_texts(self, bundles: Path) -> None:
        assert "classifies pairs of texts" in problems_of(bundles / "pairs", "a")
        assert "leave --pair out" in problems_of(bundles / "single", "a", "--pair", "b")

    def test_no_such_input(self, single: Path, source: Path) -> None:
        told = self.told(single, "im.csv")
        assert "there is no such file" in told
        assert source.name in told

    def test_a_folder_as_input(self, single: Path, folder: Path) -> None:
        assert "this is a folder" in self.told(single, folder)

    def test_all_that_is_wrong_with_the_files_is_told(self, single: Path, source: Path) -> None:
        told = problems_of(single, "--input", f"{source}x", "--output", "nowhere/out.csv")
        assert "there is no such file" in told
        assert "no such folder, in nowhere" in told

    def test_an_unknown_column(self, single: Path, folder: Path) -> None:
        source = write_table(folder / "in.csv", [*TEXTS], name="texts")
        told = self.told(single, source)
        assert "there is no column 'text' (the columns are id, texts)" in told
        assert "did you mean texts?" in told
        assert "--text-column" in told

    @pytest.mark.parametrize("number", ["2", "99"])
    def test_a_number_beyond_the_columns(self, single: Path, source: Path, number: str) -> None:
        assert "there is no column" in self.told(single, source, "--text-column", number)

    def test_one_column_for_a_pair(self, bundles: Path, source: Path) -> None:
        told = self.told(bundles / "pairs", source, "--text-column", "text")
        assert "give --text-column 2 time(s)" in told

    def test_output_on_input(self, single: Path, source: Path, folder: Path) -> None:
        before = source.read_bytes()
        (folder / "link.csv").symlink_to(source)
        for output in ("in.csv", "link.csv"):
            told = problems_of(single, "--input", source, "--output", output, "--force")
            assert "output and input are the same file" in told
        assert source.read_bytes() == before

    def test_an_output_that_exists(self, single: Path, source: Path) -> None:
        Path("there.csv").write_text("precious")
        told = problems_of(single, "--input", source, "--output", "there.csv")
        assert "the output exists, in there.csv: replace it with --force" in told
        assert Path("there.csv").read_text() == "precious"
        predict_file(single, source, "there.csv", "--force")
        assert Path("there.csv").read_text().startswith("label,score\n")

    def test_an_output_of_no_known_format(self, single: Path, source: Path) -> None:
        told = problems_of(single, "--input", source, "--output", "out.xlsx")
        assert "the ending of the output's name" in told

    def test_a_folder_as_output(self, single: Path, source: Path) -> None:
        Path("folder.csv").mkdir()
        told = problems_of(single, "--input", source, "--output", "folder.csv")
        assert "the output is a folder" in told

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "the file is empty"),
            (b"\n\n", "only blank lines"),
            (b"\x89PNG\r\n\x1a\n\0\0", "PNG picture"),
            (b"\xff\xfet\0e\0", "set --encoding utf-16"),
            (b"id,text\n1,a\n2,b,c\n", "in.csv:3"),
            (b"id,text\n1,a\n2,caf\xe9\n", "set --encoding"),
            (b'id,text\n1,a\n2,"b" c\n', "in.csv:3"),
            (b"id,id\n1,a\n", "--no-header"),
        ],
    )
    def test_a_broken_input(self, single: Path, source: Path, content: bytes, said: str) -> None:
        source.write_bytes(content)
        told = self.told(single, source)
        assert said in told
        assert "in.csv" in told
        assert "data." not in told

    def test_a_broken_row_behind_finished_windows(
        self, single: Path, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(prediction_files, "WINDOW", 2)
        source.write_bytes(b"id,text\n" + b"1,a\n" * 5 + b"2,b,c\n")
        assert "the row has the wrong width" in self.told(single, source)

    def test_a_column_that_holds_no_text(self, single: Path, folder: Path) -> None:
        (folder / "in.jsonl").write_text('{"text": "a"}\n{"text": ["b"]}\n')
        assert "in.jsonl:2" in self.told(single, folder / "in.jsonl")

    def test_a_delimiter_of_two_characters(self, single: Path, source: Path) -> None:
        assert "--delimiter" in self.told(single, source, "--delimiter", "::")

    def test_a_full_disk_leaves_what_can_be_gone_on_with(
        self, single: Path, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(PartFile, "append", full)
            with pytest.raises(MachineError, match="the disk is full"):
                predict_file(single, source, "full.csv")
        assert not Path("full.csv").exists()
        predict_file(single, source, "full.csv", "--resume")

    def test_a_folder_that_may_not_be_written(
        self, single: Path, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> int:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("textmill.part_file.os.open", refuse)
        with pytest.raises(MachineError, match="the folder can't be written"):
            predict_file(single, source, "out.csv")

    def test_the_command_line_tells_it_in_one_line(self, source: Path) -> None:
        done = subprocess.run(
            [*COMMAND, "nothing", "--input", str(source), "--output", "out.csv"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("textmill: error: no such bundle, in nothing: ")
        assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_memory_stays_flat(single: Path, tmp_path: Path) -> None:
    few = write_short_lines(tmp_path / "few.csv", 20_000)
    many = write_short_lines(tmp_path / "many.csv", 200_000)
    short = measure_predict(single, few, tmp_path / "few.out.csv")
    long = measure_predict(single, many, tmp_path / "many.out.csv")
    assert long.peak < short.peak + 40, (short, long)

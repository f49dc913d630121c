"""Bad input is normal: one line that says what, where and what next, and nothing half-written.

Each case is one row of a table: the files that lie in the working folder, the command, and what its
complaint must say. They run in this process, the last few again as a command of their own.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import torch

import textmill.train  # noqa: F401 - imported once, for all cases
from tests.bundles import MULTI, make_bundle
from textmill.cli import main
from textmill.labels import Labels
from textmill.model.module import Classifier

Monkey = pytest.MonkeyPatch
Prepare = Callable[[Path, Monkey], None]

WORDS = {"good": "a great and lovely film", "bad": "an awful and dull film"}
ROWS = [
    f"{WORDS[label]} {number}{turn},{label}\n"
    for number in range(20)
    for turn, label in enumerate(WORDS)
]
GOOD = "text,label\n" + "".join(ROWS)
PAIRS = "question,answer,label\n" + "".join(row.replace(",", f",answer {row[:2]},") for row in ROWS)
JSON_ROWS = "".join(
    json.dumps(dict(zip(("text", "label"), row.strip().split(","), strict=True))) + "\n"
    for row in ROWS
)

TRAIN = {
    "data": "files",
    "data.train": "reviews.csv",
    "data.max_length": "32",
    "model": "folder",
    "model.path": "tiny",
    "trainer.max_epochs": "1",
    "trainer.batch_size": "8",
    "baselines.enabled": "false",
    "tracking": "none",
    "tracking.report": "false",
    "tracking.explained": "0",
}
EVALUATE = {"data": "files", "data.train": "reviews.csv", "bundle": "bundle"}


@dataclass(frozen=True)
class Case:
    """One bad input.

    Args:
        name: What is wrong.
        arguments: The command line.
        says: What the complaint contains: what is wrong, where, and the next step.
        files: What lies in the working folder beside ``reviews.csv`` and ``tiny``, the encoder.
        prepare: What else is done to the folder or the environment.
        status: The exit status: 2 for wrong input, 1 for a fault of the machine.
        errors: How many lines complain.
        changes: The only files that the command may have changed.
    """

    name: str
    arguments: list[str]
    says: tuple[str, ...]
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    prepare: Prepare | None = None
    status: int = 2
    errors: int = 1
    changes: tuple[str, ...] = ()


def train(*overrides: str, verb: str = "train") -> list[str]:
    """The command for a small training, with some overrides replaced or added."""
    replaced = dict(override.split("=", 1) for override in overrides)
    return [verb, *(f"{key}={value}" for key, value in {**TRAIN, **replaced}.items())]


def evaluate(*overrides: str) -> list[str]:
    """The command for judging the bundle, with some overrides replaced or added."""
    replaced = dict(override.split("=", 1) for override in overrides)
    return ["evaluate", *(f"{key}={value}" for key, value in {**EVALUATE, **replaced}.items())]


def rows(
    name: str, extra: str | bytes, *overrides: str, says: tuple[str, ...], errors: int = 1
) -> Case:
    """A case of rows that are added to good ones."""
    added = extra.encode() if isinstance(extra, str) else extra
    files = {"reviews.csv": GOOD.encode() + added}
    return Case(name, train(*overrides), says, files, errors=errors)


def source(name: str, file: str, content: str | bytes, *says: str, errors: int = 1) -> Case:
    """A case of a file that can't be read at all."""
    return Case(name, train(f"data.train={file}"), (file, *says), {file: content}, errors=errors)


def parquet(**columns: list[object]) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), sink)
    return sink.getvalue()


ROW_CASES = [
    rows(
        "empty text",
        " ,good\n",
        "data.on_problem.empty_text=error",
        says=("1 row of train has an empty text", "reviews.csv:42", "empty_text=drop"),
    ),
    rows(
        "missing text",
        ",good\n,bad\n",
        "data.on_problem.missing_text=error",
        "data.on_problem.empty_text=error",
        says=("2 rows of train have", "text", "reviews.csv:42", "_text=drop"),
    ),
    Case(
        "missing text in JSON",
        train("data.train=reviews.jsonl", "data.on_problem.missing_text=error"),
        ("1 row of train has no text", "reviews.jsonl:41", "missing_text=drop"),
        {"reviews.jsonl": JSON_ROWS + '{"text": null, "label": "good"}\n'},
    ),
    rows(
        "missing label",
        "what a film,\n",
        says=("1 row of train has no label", 'reviews.csv:42 ("what a film")', "=drop"),
    ),
    rows(
        "label outside the declared",
        "what a film,fair\n",
        "data.labels=[bad,good]",
        says=("unknown label (fair is none of bad, good)", "reviews.csv:42", "data.labels"),
    ),
    rows(
        "label that is no number",
        "",
        "data.label_thresholds=[0]",
        says=("40 rows of train have an unknown label", "not a number", "reviews.csv:2", "=drop"),
    ),
    rows(
        "several labels without a delimiter",
        "",
        "data.multi_label=true",
        says=("40 rows", "set data.label_delimiter", "reviews.csv:2"),
    ),
    Case(
        "label only in test",
        train("data.test=test.csv"),
        ("1 row of test has a label that train does not have (fair)", "test.csv:2", "data.labels"),
        {"test.csv": "text,label\nwhat a film,fair\nno film,bad\nsome film,good\n"},
    ),
    rows(
        "class too rare to split",
        "what a film,fair\n",
        says=("too few examples to be in every split (fair)", "reviews.csv:42", "rare_class=drop"),
    ),
    rows(
        "exact duplicate",
        ROWS[0],
        "data.on_problem.duplicate=error",
        says=("repeats the text and label of an earlier row", "reviews.csv:42", "duplicate=drop"),
    ),
    rows(
        "duplicate with another label",
        ROWS[0].replace("good", "bad"),
        "data.on_problem.conflicting_duplicate=error",
        says=("with a different label", "reviews.csv:", "conflicting_duplicate=drop"),
    ),
    Case(
        "text in two splits",
        train("data.test=test.csv", "data.on_problem.leak=error"),
        ("shares its text or group with another split", "reviews.csv:2", "data.on_problem.leak"),
        {"test.csv": f"text,label\n{ROWS[0]}no film,bad\n"},
    ),
    rows(
        "undecodable bytes",
        b"caf\xe9 film,good\n",
        says=("bytes that are not text in the file's encoding", "reviews.csv:42", "data.encoding"),
    ),
    rows(
        "row too wide",
        "what, a film,good\n",
        says=("wrong number of cells", "reviews.csv:42", "data.delimiter", "wrong_width=drop"),
    ),
    rows(
        "row too narrow",
        "what a film\n",
        says=("wrong number of cells", "reviews.csv:42", "data.delimiter", "wrong_width=drop"),
    ),
    Case(
        "line that is not JSON",
        train("data.train=reviews.jsonl"),
        ("1 row of train is malformed", "reviews.jsonl:41", "malformed=drop"),
        {"reviews.jsonl": JSON_ROWS + '{"text": "half a'},
    ),
    rows(
        "several problems at once",
        b"what a film,\nnone\ncaf\xe9 film,good\n",
        says=("no label", "wrong number of cells", "not text in the file's encoding"),
        errors=3,
    ),
    rows(
        "everything dropped",
        "",
        "data.labels=[yes,no]",
        "data.on_problem.unknown_label=drop",
        says=("train split has no rows after leaving out 40 unknown_label", "reviews.csv", "set"),
    ),
    Case(
        "one label only",
        train(),
        ("the only label is good", "column label", "set data.label"),
        {"reviews.csv": "text,label\n" + "".join(row for row in ROWS if "good" in row)},
    ),
    Case(
        "data alone, one bad row",
        train(verb="data"),
        ("no label", "reviews.csv:42"),
        {"reviews.csv": GOOD + "what a film,\n"},
    ),
]

COLUMN_CASES = [
    Case(
        "missing text column",
        train("data.text=texxt"),
        ("no column texxt (the columns are text, label)", "reviews.csv", "did you mean text?"),
    ),
    Case(
        "missing label column",
        train("data.label=labels"),
        ("no column labels", "reviews.csv", "data.label=COLUMN (did you mean label?)"),
    ),
    Case(
        "missing columns",
        train("data.train=other.csv", "data.group=user", "data.slices=[source]"),
        ("no column text", "no column label", "no column user", "no column source", "other.csv"),
        {"other.csv": "a,b\n1,2\n"},
        errors=4,
    ),
    Case(
        "no file of corrections",
        train("data.corrections=none.csv"),
        ("the corrections can't be read", "data.corrections=none.csv", "give a CSV file"),
    ),
    Case(
        "corrections of other data",
        train("data.corrections=suspects.csv"),
        ("no label god", "1 line has a place that is not in the data", "2 lines have another text"),
        {
            "suspects.csv": "place,text,corrected\n"
            "reviews.csv:2,other,good\nreviews.csv:999,x,good\nreviews.csv:3,x,god\n"
        },
        errors=3,
    ),
    Case(
        "slices by the text",
        train("data.slices=[text]"),
        ("the column text has the texts", "reviews.csv", "leave it out of data.slices"),
    ),
    Case("column number too high", train("data.text=7"), ("no column 7", "reviews.csv")),
    Case(
        "three text columns",
        train("data.text=[a,b,c]"),
        ("data.text", "a list of 2"),
    ),
    Case(
        "same column twice",
        train("data.train=other.csv"),
        ("'text' twice", "other.csv", "name each column once"),
        {"other.csv": "text,text,label\n1,2,3\n"},
    ),
]

SOURCE_CASES = [
    Case(
        "missing file",
        train("data.train=revievs.csv"),
        ("there is no such file", "revievs.csv", "has reviews.csv"),
    ),
    Case(
        "two missing files",
        train("data.train=nowhere/a.csv", "data.test=b.csv"),
        ("nowhere/a.csv", "b.csv", "the folder nowhere doesn't exist"),
        errors=2,
    ),
    Case("no data", ["train", "data=files"], ("data.train", "add data.train=FILE")),
    Case(
        "folder without data files",
        train("data.train=folder"),
        ("the folder has no data files", "folder", ".csv"),
        {"folder/notes.pdf": "not data"},
    ),
    Case(
        "glob that matches nothing",
        train("data.train='*.tsv'"),
        ("no file matches", "*.tsv", "reviews.csv"),
    ),
    Case(
        "unknown ending",
        train("data.train=reviews.xyz"),
        ("ending of 'reviews.xyz'", "format", "set data.format to csv, tsv, jsonl or parquet"),
        {"reviews.xyz": GOOD},
    ),
    Case(
        "files with different columns",
        train("data.train=[reviews.csv,other.csv]"),
        ("the files of train have different columns", "other.csv", "data.train"),
        {"other.csv": "a,b\n1,2\n"},
    ),
    Case(
        "unknown encoding",
        train("data.encoding=utf-9"),
        ("utf-9", "encoding"),
    ),
    source("binary file named .csv", "x.csv", bytes(range(256)) * 40, "binary"),
    source("zip named .csv", "x.csv", b"PK\x03\x04" + bytes(200)),
    source("empty file", "x.csv", "", "empty"),
    source("blank file", "x.csv", "\n\n\n", "blank"),
    source("empty parquet file", "x.parquet", b"", "parquet"),
    source("broken parquet", "x.parquet", parquet(text=["a"], label=["b"])[:-20], "damaged"),
    source("text named .parquet", "x.parquet", GOOD, "parquet"),
    source("gzip cut off", "x.csv.gz", gzip.compress(GOOD.encode())[:-30], "damaged", "again"),
    source("gzip that is none", "x.csv.gz", GOOD, "damaged", "again"),
    source("JSON array", "x.jsonl", '[{"text": "a"}]', "JSON array"),
    source("no JSON at all", "x.jsonl", "text,label\na,b\n", "JSON"),
    Case(
        "header only",
        train("data.train=x.csv"),
        ("the train split has no rows", "x.csv", "data.train"),
        {"x.csv": "text,label\n"},
    ),
]

CONFIGURATION_CASES = [
    Case("unknown verb", ["trian"], ("no verb 'trian'", "did you mean train?")),
    Case(
        "unknown data set",
        ["train", "data=movie_review"],
        ("there is no data set named 'movie_review'", "did you mean movie_reviews"),
    ),
    Case(
        "unknown model",
        train("model=minilmm"),
        ("there is no model named 'minilmm'", "model=minilmm", "did you mean minilm?"),
    ),
    Case(
        "unknown key",
        train("trainer.max_epoch=3"),
        ("no key 'trainer.max_epoch'", "trainer.max_epochs"),
    ),
    Case(
        "value of another type",
        train("trainer.max_epochs=two"),
        ("trainer.max_epochs can't be", "whole number"),
    ),
    Case(
        "unknown metric",
        train("trainer.monitor=f1_marco"),
        ("'f1_marco' is not a metric", "trainer.monitor", "did you mean f1_macro"),
    ),
    Case(
        "metric of an unknown label",
        train("trainer.monitor=f1/goood"),
        ("no label 'goood'", "trainer.monitor=f1/goood", "did you mean good?"),
    ),
    Case(
        "weight of an unknown label",
        train("loss.class_weights={goood: 2}"),
        ("no label 'goood'", "loss.class_weights", "did you mean good?"),
    ),
    Case(
        "LoRA of unknown layers",
        train("model.lora.rank=2", "model.lora.targets=[nothing]"),
        ("nothing", "model.lora.targets"),
    ),
    Case(
        "texts longer than the model takes",
        train("data.max_length=65"),
        ("65", "64", "data.max_length"),
    ),
]

MODEL_CASES = [
    Case(
        "no model folder",
        train("model.path=nowhere"),
        ("there is no such folder", "model.path=nowhere", "give a folder"),
    ),
    Case("model not named", train("model.path=null"), ("no model is named", "model.path=FOLDER")),
    Case(
        "folder without a model",
        train("model.path=folder"),
        ("can't be used", "folder", "model.path=FOLDER"),
        {"folder/notes.txt": "not a model"},
    ),
]


def damage_model(file: str, keep: int | None) -> Prepare:
    """A copy of the encoder, ``mine``, in which a file is missing or cut off."""

    def prepare(folder: Path, _: Monkey) -> None:
        shutil.copytree(folder / "tiny", folder / "mine")
        path = folder / "mine" / file
        content = path.read_bytes()
        path.unlink()
        if keep is not None:
            path.write_bytes(content[:keep])

    return prepare


MODEL_CASES += [
    Case(
        f"model {what}",
        train("model.path=mine"),
        ("the model's", "can't be used", "mine", "model.path=FOLDER"),
        prepare=damage_model(file, keep),
    )
    for what, file, keep in (
        ("without weights", "model.safetensors", None),
        ("with weights cut off", "model.safetensors", 5000),
        ("without configuration", "config.json", None),
        ("with a broken configuration", "config.json", 20),
        ("without tokenizer", "tokenizer.json", None),
        ("with a broken tokenizer", "tokenizer.json", 300),
    )
]


def no_devices(_: Path, monkeypatch: Monkey) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def offline(_: Path, monkeypatch: Monkey) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def links(archive: str, content: bytes) -> Prepare:
    """Lets pip look for archives in a folder alone, which has one file."""

    def prepare(folder: Path, monkeypatch: Monkey) -> None:
        place = folder / "links"
        place.mkdir()
        (place / archive).write_bytes(content)
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", place.as_uri())
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)

    return prepare


def archive_with(**files: str) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"reviews-1.0/{name}.csv")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content.encode()))
    return sink.getvalue()


def packaged(sha256: str, member: str = "reviews-1.0/reviews.csv") -> list[str]:
    """A training on a file of an archive."""
    return train(
        "data.source=package",
        "data.train=reviews-1.0/reviews.csv",
        "data.package.name=reviews",
        "data.package.version='1.0'",
        f"data.package.sha256='{sha256}'",
        "data.package.kind=sdist",
        f"data.package.members=[{member}]",
    )


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def damaged_cache(folder: Path, monkeypatch: Monkey) -> None:
    """A cached archive whose file was cut off since, and no way to get it again."""
    links("reviews-1.0.tar.gz", ARCHIVE)(folder, monkeypatch)
    assert main([*packaged(sha256(ARCHIVE)), "data.label=nothing"]) == 2  # but now it is cached
    (folder / "links" / "reviews-1.0.tar.gz").unlink()
    (cached,) = Path(os.environ["TEXTMILL_CACHE"]).glob("assets/*/reviews-1.0/reviews.csv")
    cached.write_text(GOOD[:100])


ARCHIVE = archive_with(reviews=GOOD)
GARBAGE = b"this is no archive" * 100

FETCHING_CASES = [
    Case(
        "device that isn't there",
        train("trainer.accelerator=gpu"),
        ("this machine has no gpu", "trainer.accelerator=gpu", "set trainer.accelerator=auto"),
        prepare=no_devices,
    ),
    Case(
        "machine that lacks several things",
        train(
            "trainer.accelerator=gpu",
            "runs_dir=reviews.csv",
            "data.train=revievs.csv",
            "model.path=nowhere",
        ),
        ("no gpu", "runs folder can't be written", "no such file", "no such folder"),
        prepare=no_devices,
        errors=4,
    ),
    Case(
        "hub model out of reach",
        train("model=bert_base", "model.path=null"),
        ("can't be fetched", "check the network", "model.path=FOLDER"),
        prepare=offline,
        status=1,
    ),
    Case(
        "hub data set out of reach",
        ["train", "data=emotion"],
        ("can't be fetched", "emotion", "data.path=FOLDER"),
        prepare=offline,
        status=1,
    ),
    Case(
        "no network and a cold cache",
        ["train", "data=movie_reviews", "model=folder", "model.path=tiny"],
        ("can't fetch", "vaderSentiment==0.5", "package index in reach", "TEXTMILL_CACHE"),
        prepare=links("other-1.0.tar.gz", GARBAGE),
        status=1,
    ),
    Case(
        "hash that doesn't match",
        packaged("0" * 64),
        (sha256(ARCHIVE), "not the pinned 0000", "nothing was kept", "correct the pin"),
        prepare=links("reviews-1.0.tar.gz", ARCHIVE),
        status=1,
    ),
    Case(
        "broken archive",
        packaged(sha256(GARBAGE)),
        ("reviews==1.0 is not a readable archive", "pin another"),
        prepare=links("reviews-1.0.tar.gz", GARBAGE),
        status=1,
    ),
    Case(
        "archive cut off",
        packaged(sha256(ARCHIVE[:200])),
        ("reviews==1.0 is not a readable archive", "pin another"),
        prepare=links("reviews-1.0.tar.gz", ARCHIVE[:200]),
        status=1,
    ),
    Case(
        "archive without the file",
        packaged(sha256(ARCHIVE), "reviews-1.0/review.csv"),
        ("the archive has no file 'reviews-1.0/review.csv'", "reviews-1.0/reviews.csv"),
        prepare=links("reviews-1.0.tar.gz", ARCHIVE),
    ),
    Case(
        "corrupt cached archive",
        packaged(sha256(ARCHIVE)),
        ("can't fetch", "reviews==1.0", "run again with a package index in reach"),
        prepare=damaged_cache,
        status=1,
    ),
    Case(
        "archive that isn't pinned",
        train("data.source=package", "data.package.name=reviews"),
        ("data.package.version is not given", "data.package.sha256 is not given", "pinned"),
        errors=2,
    ),
]


def in_run(change: Callable[[Path], object]) -> Prepare:
    """The stopped run, as ``stopped``, with something changed in it."""

    def prepare(folder: Path, _: Monkey) -> None:
        change(folder / "stopped")

    return prepare


def set_state(run: Path, state: str = "finished") -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "state": state}))


def cut_off(name: str) -> Prepare:
    return in_run(lambda run: os.truncate(run / name, 1000))


RESUME_CASES = [
    Case(
        "resume of nothing",
        ["train", "resume=nowhere"],
        ("there is no run", "nowhere", "give the folder of a run"),
    ),
    Case(
        "resume without runs",
        ["train", "resume=latest"],
        ("there is no run", "runs", "give the folder of a run"),
    ),
    Case(
        "resume of what is no run",
        ["train", "resume=folder"],
        ("the folder is not a run", "folder", "config.yaml and manifest.json"),
        {"folder/reviews.csv": GOOD},
    ),
    Case(
        "resume of a finished run",
        ["train", "resume=stopped"],
        ("the run is finished", "stopped", "start a new one"),
        prepare=in_run(set_state),
    ),
    Case(
        "resume with other settings",
        ["train", "resume=stopped", "trainer.max_epochs=9"],
        ("keeps its configuration", "trainer.max_epochs=9", "resume=stopped", "start a new run"),
    ),
    Case(
        "resume with other data",
        ["train", "resume=stopped"],
        ("the data have changed", "stopped", "start a new run"),
        {"reviews.csv": GOOD + "one more film,good\n"},
    ),
    Case(
        "resume without the data",
        ["train", "resume=stopped"],
        ("there is no such file", "reviews.csv"),
        prepare=lambda folder, _: (folder / "reviews.csv").unlink(),
    ),
    Case(
        "resume with a broken configuration",
        ["train", "resume=stopped"],
        ("the configuration can't be read", "stopped/config.yaml", "is this a run's folder?"),
        prepare=in_run(lambda run: (run / "config.yaml").write_bytes(b"\xff\x00: [")),
    ),
    Case(
        "resume with a broken manifest",
        ["train", "resume=stopped"],
        ("manifest can't be read", "stopped/manifest.json"),
        prepare=in_run(lambda run: (run / "manifest.json").write_text('{"state": ')),
    ),
    Case(
        "corrupt checkpoint",
        ["train", "resume=stopped"],
        ("the checkpoint can't be read", "last.ckpt", "delete it and resume again"),
        prepare=cut_off("checkpoints/last.ckpt"),
        changes=("stopped/manifest.json",),
    ),
    Case(
        "checkpoint that is something else",
        ["train", "resume=stopped"],
        ("the checkpoint can't be read", "last.ckpt", "delete it and resume again"),
        prepare=in_run(lambda run: torch.save({"a": 1}, run / "checkpoints" / "last.ckpt")),
        changes=("stopped/manifest.json",),
    ),
]


def bundle(
    change: Callable[[Path], object] = lambda _: None, labels: Labels | None = None, *columns: str
) -> Prepare:
    """Puts a bundle into the working folder, and changes something in it."""
    labels = labels or Labels(("bad", "good"))
    columns = columns or ("text",)

    def prepare(folder: Path, _: Monkey) -> None:
        encoder = (folder / "tiny").resolve()
        kept = encoder.parent / "-".join(("bundle", *labels.names, *columns))
        if not kept.exists():
            make_bundle(encoder, kept, labels, text_columns=columns)
        shutil.copytree(kept, folder / "bundle")
        change(folder / "bundle")

    return prepare


def bundle_without_devices(folder: Path, monkeypatch: Monkey) -> None:
    bundle()(folder, monkeypatch)
    no_devices(folder, monkeypatch)


def predict(*arguments: str) -> list[str]:
    return ["predict", "bundle", *arguments]


PREDICT_FILE = predict("--input", "reviews.csv", "--output", "out.csv")
NEEDED = ("config.json", "model.safetensors", "textmill.json", "tokenizer.json")

BUNDLE_CASES = [
    Case("unknown bundle", predict("a text"), ("no such bundle", "bundle", "textmill train")),
    Case(
        "no run yet",
        ["predict", "latest", "a text"],
        ("there is no finished run yet", "runs/latest", "textmill train"),
    ),
    Case(
        "bundle that is a file",
        ["predict", "reviews.csv", "a text"],
        ("a bundle is a folder", "reviews.csv", "give the folder"),
    ),
    *(
        Case(
            f"bundle without {name}",
            predict("a text"),
            (f"the bundle lacks {name}", "bundle"),
            prepare=bundle(lambda made, name=name: (made / name).unlink()),  # type: ignore[misc]
        )
        for name in NEEDED
    ),
    Case(
        "weights cut off",
        predict("a text"),
        ("the weights are cut off or broken", "bundle/model.safetensors"),
        prepare=bundle(lambda made: os.truncate(made / "model.safetensors", 5000)),
    ),
    Case(
        "broken tokenizer",
        predict("a text"),
        ("bundle",),
        prepare=bundle(lambda made: os.truncate(made / "tokenizer.json", 300)),
    ),
    Case(
        "broken textmill.json",
        predict("a text"),
        ("bundle/textmill.json",),
        prepare=bundle(lambda made: os.truncate(made / "textmill.json", 30)),
    ),
    Case(
        "bundle of a newer version",
        predict("a text"),
        ("newer Textmill", "bundle", "upgrade"),
        prepare=bundle(lambda made: (made / "textmill.json").write_text('{"format_version": 99}')),
    ),
    Case(
        "unknown device",
        predict("a text", "--device", "gpu"),
        ("gpu", "device"),
        prepare=bundle(),
    ),
    Case(
        "device that isn't there for prediction",
        predict("a text", "--device", "cuda"),
        ("cuda",),
        prepare=bundle_without_devices,
    ),
    Case(
        "text of a pair alone",
        predict("a text"),
        ("pairs of texts (question, answer)", "--pair"),
        prepare=bundle(lambda _: None, None, "question", "answer"),
    ),
    Case("output missing", predict("--input", "reviews.csv"), ("--input needs --output",)),
    Case(
        "input missing",
        predict("--input", "nowhere.csv", "--output", "out.csv"),
        ("there is no such file", "nowhere.csv"),
        prepare=bundle(),
    ),
    Case(
        "input without the text column",
        predict("--input", "other.csv", "--output", "out.csv"),
        ("there is no column 'text' (the columns are a, b)", "other.csv", "--text-column"),
        {"other.csv": "a,b\n1,2\n"},
        prepare=bundle(),
    ),
    Case(
        "output exists",
        PREDICT_FILE,
        ("the output exists", "out.csv", "--force"),
        {"out.csv": "dear to me"},
        prepare=bundle(),
    ),
    Case(
        "output of unknown format",
        predict("--input", "reviews.csv", "--output", "out.pdf"),
        ("out.pdf", "csv"),
        prepare=bundle(),
    ),
    Case(
        "output's folder missing",
        predict("--input", "reviews.csv", "--output", "nowhere/out.csv"),
        ("no such folder", "nowhere", "make it"),
        prepare=bundle(),
    ),
    Case(
        "broken row of an input",
        PREDICT_FILE,
        ("wrong width", "reviews.csv:42", "--delimiter"),
        {"reviews.csv": GOOD + "what, a film,good\n"},
        prepare=bundle(),
    ),
    Case(
        "undecodable row of an input",
        PREDICT_FILE,
        ("can't be decoded", "reviews.csv:42", "--encoding"),
        {"reviews.csv": GOOD.encode() + b"caf\xe9,good\n"},
        prepare=bundle(),
    ),
    Case(
        "gzip input cut off",
        predict("--input", "x.csv.gz", "--output", "out.csv"),
        ("damaged", "x.csv.gz"),
        {"x.csv.gz": gzip.compress(GOOD.encode())[:-30]},
        prepare=bundle(),
    ),
    Case(
        "no bundle to evaluate",
        evaluate("bundle=nowhere"),
        ("no such bundle", "nowhere", "textmill train"),
    ),
    Case(
        "bundle of other labels",
        evaluate(),
        ("unknown label", "bad is none of cold, warm", "reviews.csv"),
        prepare=bundle(lambda _: None, Labels(("cold", "warm"))),
    ),
    Case(
        "bundle of several labels a text",
        evaluate(),
        ("any number of labels a text", "one label a text", "data.multi_label=true"),
        prepare=bundle(lambda _: None, MULTI),
    ),
    Case(
        "bundle of pairs for singles",
        evaluate(),
        ("pairs of texts", "single texts", "data.text=text", "2 column"),
        prepare=bundle(lambda _: None, None, "question", "answer"),
    ),
    Case(
        "bundle of singles for pairs",
        evaluate("data.train=pairs.csv", "data.text=[question,answer]"),
        ("single texts", "pairs of texts", "data.text", "1 column"),
        {"pairs.csv": PAIRS},
        prepare=bundle(),
    ),
    Case(
        "evaluation's output in a file's place",
        evaluate("output=out"),
        ("the output folder can't be written", "out", "set output=FOLDER"),
        {"out": "dear to me"},
        prepare=bundle(),
        status=1,
    ),
]

CASES = [
    *ROW_CASES,
    *COLUMN_CASES,
    *SOURCE_CASES,
    *CONFIGURATION_CASES,
    *MODEL_CASES,
    *FETCHING_CASES,
    *RESUME_CASES,
    *BUNDLE_CASES,
]


@pytest.fixture(autouse=True)
def work(tmp_path: Path, tiny_encoder: Path, monkeypatch: Monkey) -> Path:
    """A working folder with good data and an encoder, and a cache of its own beside it."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "reviews.csv").write_text(GOOD)
    (folder / "tiny").symlink_to(tiny_encoder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TEXTMILL_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture(scope="module")
def stopped_run(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped in the middle of its only epoch; its data are ``reviews.csv``."""
    folder = tmp_path_factory.mktemp("stopped")
    (folder / "reviews.csv").write_text(GOOD)
    (folder / "tiny").symlink_to(tiny_encoder)
    step = Classifier.training_step

    def stop(self: Classifier, *arguments: object) -> object:
        os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        monkeypatch.setenv("TEXTMILL_CACHE", str(folder / "cache"))
        monkeypatch.setattr(Classifier, "training_step", stop)
        assert main(train()) == 128 + signal.SIGTERM
    (manifest,) = folder.glob("runs/*/*/manifest.json")
    return manifest.parent


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_bad_input_is_one_line_and_leaves_nothing(
    case: Case,
    work: Path,
    monkeypatch: Monkey,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    set_up(case, work, monkeypatch, request)
    capsys.readouterr()
    before = contents(work)
    status = main(case.arguments)
    output = capsys.readouterr()
    assert_one_line(case, status, output.out, output.err)
    after = contents(work)
    assert {name for name in before | after if before.get(name) != after.get(name)} == set(
        case.changes
    )
    assert litter(work.parent / "cache") == []
    if "stopped/manifest.json" in case.changes:
        assert json.loads(after["stopped/manifest.json"])["state"] == "failed"


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A file system in memory at a folder, which only root can have; else the test is skipped."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    mount = shutil.which("mount")
    if not mount or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("file systems can't be mounted here")
    try:
        yield
    finally:
        # Lazily: the process may still have a file of it mapped into memory.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def full_disk(name: str, arguments: list[str], size: str, *says: str) -> tuple[str, Case]:
    """A case in which the folder ``small`` has room for ``size`` only."""
    return size, Case(name, arguments, ("the disk is full", *says), prepare=bundle(), status=1)


MANY_ROWS = "text,label\n" + "".join(f"{number} {row}" for number in range(50) for row in ROWS)

FULL_DISKS = [
    full_disk("for a run", train("runs_dir=small"), "8k", "small", "free some space"),
    full_disk("for the best weights", train("runs_dir=small"), "100k", "best.ckpt", "free"),
    full_disk("for a checkpoint", train("runs_dir=small"), "300k", "last.ckpt", "free"),
    full_disk("for the bundle's weights", train("runs_dir=small"), "530k", "/model", "free"),
    full_disk("for the bundle's tokenizer", train("runs_dir=small"), "575k", "/model", "free"),
    full_disk(
        "for predictions",
        predict("--input", "many.csv", "--output", "small/out.csv"),
        "8k",
        "small/out.csv",
        "free some space",
    ),
    full_disk(
        "for an evaluation", evaluate("output=small/out", "split=all"), "4k", "small", "free"
    ),
]


@pytest.mark.parametrize(
    ("size", "case"), FULL_DISKS, ids=[case.name.replace(" ", "-") for _, case in FULL_DISKS]
)
def test_a_full_disk_is_told_and_leaves_nothing_half_written(
    size: str,
    case: Case,
    work: Path,
    monkeypatch: Monkey,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    (work / "many.csv").write_text(MANY_ROWS)
    set_up(case, work, monkeypatch, request)
    with mounted(work / "small", f"size={size}"):
        capsys.readouterr()
        status = main(case.arguments)
        output = capsys.readouterr()
        assert_one_line(case, status, output.out, output.err)
        left = [path for path in (work / "small").rglob("*") if path.is_file()]
        assert not [path for path in left if path.name.startswith(".")]
        assert not (work / "small" / "out.csv").exists()
        assert not (work / "small" / "latest").exists()
        states = [json.loads(path.read_text())["state"] for path in left if path.stem == "manifest"]
        assert set(states) <= {"failed"}


@pytest.mark.parametrize("cache", ["examples", "assets", "tokens"])
def test_a_full_cache_is_told_and_leaves_nothing(
    cache: str, work: Path, monkeypatch: Monkey, capsys: pytest.CaptureFixture[str]
) -> None:
    (work / "many.csv").write_text(MANY_ROWS)
    links("reviews-1.0.tar.gz", archive_with(reviews=MANY_ROWS))(work, monkeypatch)
    folder = Path(os.environ["TEXTMILL_CACHE"]) / cache
    folder.mkdir(parents=True)
    arguments = packaged(sha256(archive_with(reviews=MANY_ROWS)))
    if cache != "assets":
        arguments = train("data.train=many.csv")
    with mounted(folder, "size=32k"):
        capsys.readouterr()
        status = main(arguments)
        output = capsys.readouterr()
        case = Case(cache, arguments, ("the disk is full", f"cache/{cache}", "free"), status=1)
        assert_one_line(case, status, output.out, output.err)
        assert litter(folder) == []


def test_a_runs_folder_that_cannot_be_written_is_told_before_any_work(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = train("runs_dir=fixed")
    case = Case("", arguments, ("the runs folder can't be written", "fixed", "runs_dir"), status=1)
    with mounted(work / "fixed", "ro"):
        assert_one_line(case, main(arguments), *capsys.readouterr())
    (work / "fixed").rmdir()
    (work / "fixed").write_text("a file is in its place")
    assert_one_line(case, main(arguments), *capsys.readouterr())
    assert litter(work.parent) == []


def test_an_output_that_cannot_be_written_is_told(
    work: Path, monkeypatch: Monkey, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle()(work, monkeypatch)
    arguments = predict("--input", "reviews.csv", "--output", "fixed/out.csv")
    case = Case("", arguments, ("can't be written", "fixed", "choose another folder"), status=1)
    with mounted(work / "fixed", "ro"):
        capsys.readouterr()
        assert_one_line(case, main(arguments), *capsys.readouterr())


@pytest.mark.parametrize("place", ["file", "/proc/nowhere"])
def test_a_cache_that_cannot_be_written_is_told(
    place: str, work: Path, monkeypatch: Monkey, capsys: pytest.CaptureFixture[str]
) -> None:
    (work / "file").write_text("a file is in its place")
    monkeypatch.setenv("TEXTMILL_CACHE", place)
    case = Case("", train(), ("can't be written", place, "set TEXTMILL_CACHE"), status=1)
    before = contents(work)
    assert_one_line(case, main(train()), *capsys.readouterr())
    assert contents(work) == before


@pytest.mark.parametrize(
    "case",
    [
        case
        for case in CASES
        if case.name in ("missing label", "unknown data set", "unknown bundle", "weights cut off")
    ],
    ids=lambda case: case.name.replace(" ", "-"),
)
def test_the_command_itself_ends_like_that(
    case: Case, work: Path, monkeypatch: Monkey, request: pytest.FixtureRequest
) -> None:
    set_up(case, work, monkeypatch, request)
    before = contents(work)
    command = [sys.executable, "-m", "textmill", *case.arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert_one_line(case, done.returncode, done.stdout, done.stderr)
    assert contents(work) == before


def set_up(case: Case, work: Path, monkeypatch: Monkey, request: pytest.FixtureRequest) -> None:
    if "resume=stopped" in case.arguments:
        shutil.copytree(request.getfixturevalue("stopped_run"), work / "stopped")
    for name, content in case.files.items():
        path = work / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    if case.prepare is not None:
        case.prepare(work, monkeypatch)


def assert_one_line(case: Case, status: int, output: str, errors: str) -> None:
    """The exit status is right, and there is a line for each problem that says everything."""
    lines = errors.splitlines()
    complaints = [line for line in lines if line.startswith("textmill: error: ")]
    assert status == case.status, errors
    assert output == ""
    assert "Traceback" not in errors
    assert len(complaints) == case.errors, errors
    # Nothing follows the complaints, and lines before them are only those of a run's beginning.
    assert lines[-case.errors :] == complaints, errors
    assert all(
        line.startswith(("run ", "data ", "model ", "batches ", "validation "))
        for line in lines[: -case.errors]
    )
    for part in case.says:
        assert part in "\n".join(complaints)


def contents(folder: Path) -> dict[str, bytes]:
    """All files and folders below a folder; links are not followed."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
        if not path.is_symlink()
    }


def litter(folder: Path) -> list[str]:
    """Temporary files and folders that were left."""
    kept = (".lock", ".textmill-asset.json")
    return [
        str(path)
        for path in folder.rglob("*")
        if (path.name[0] == "." or ".part" in path.name) and not path.name.endswith(kept)
    ]

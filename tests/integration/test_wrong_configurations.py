"""A wrong configuration is told whole, in lines that say what would be right; nothing is written.

Each case is one row of a table: the command, the user's own files, and the lines of the answer,
each as the words that must be in it: the key, the value, what was expected, the nearest choice.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from textmill.cli import main


@dataclass(frozen=True)
class Case:
    """One wrong configuration.

    Args:
        name: What is wrong with it.
        command: The command, without ``textmill``.
        lines: For each line of the answer, the words in it.
        files: The user's files.
    """

    name: str
    command: str
    lines: list[tuple[str, ...]]
    files: dict[str, str] = field(default_factory=dict)


def key(name: str, override: str, *words: str) -> Case:
    """A case of one override, of which one line complains."""
    return Case(name, f"train {override}", [words])


MISSPELT = [
    key("key at the top", "sed=1", "'sed'", "did you mean seed?"),
    key("section", "trainr.patience=3", "'trainr.patience'", "did you mean trainer.patience"),
    key("key in a section", "trainer.max_epoch=3", "'trainer.max_epoch'", "trainer.max_epochs"),
    key("key two sections deep", "model.lora.rnk=4", "'model.lora.rnk'", "model.lora.rank"),
    key(
        "policy",
        "data.on_problem.leek=drop",
        "'data.on_problem.leek'",
        "did you mean data.on_problem.leak",
    ),
    key("key without its section", "batch_size=8", "'batch_size'", "trainer.batch_size?"),
    key("key of null", "data.local.trian=x", "'data.local.trian'", "did you mean data.local.train"),
    key("key behind a plus", "+trainer.patienc=3", "'trainer.patienc'", "trainer.patience"),
    key("key behind two", "++data.split.tset=0.1", "'data.split.tset'", "data.split.test"),
    key("key taken out", "~optimizer.layer_decy", "'optimizer.layer_decy'", "layer_decay"),
    key("known key behind a plus", "+seed=1", "seed is there already", "seed=VALUE"),
    Case(
        "several keys at once",
        "train sed=1 +optimizer.lrr=2 ++model.lora.rnk=3 data=tweet data=cola",
        [("'sed'", "seed"), ("'optimizer.lrr'", "optimizer.lr"), ("'model.lora.rnk'",), ("data",)],
    ),
]

CHOICES = [
    key("data set", "data=movie_review", "data set named 'movie_review'", "movie_reviews?"),
    key("model", "model=minilmm", "no model named 'minilmm'", "did you mean minilm?"),
    key("trainer", "trainer=gpuu", "no trainer named 'gpuu'", "did you mean gpu?"),
    key("optimizer", "optimizer=adamv", "no optimizer named 'adamv'", "did you mean adamw"),
    key("scheduler", "scheduler=cosin", "no scheduler named 'cosin'", "did you mean cosine?"),
    key("loss", "loss=crossentropy", "no loss named 'crossentropy'", "cross_entropy?"),
    key("experiment", "experiment=smok", "no experiment named 'smok'", "did you mean smoke?"),
    key("one tracker of two", "tracking=[csv,wandbb]", "tracking named 'wandbb'", "wandb?"),
    Case("search", "sweep sweep=smok", [("no sweep named 'smok'", "did you mean smoke?")]),
    Case("no search", "sweep", [("no sweep is chosen", "sweep=NAME", "smoke")]),
    Case("file", "train data=./mine.yaml", [("no file ./mine.yaml", "data=./mine.yaml")]),
]

TYPES_AND_RANGES = [
    key("word for a number", "trainer.patience=two", 'patience can\'t be "two"', "whole number"),
    key("fraction", "trainer.batch_size=1.5", "trainer.batch_size can't be 1.5", "whole number"),
    key("zero", "trainer.batch_size=0", "trainer.batch_size can't be 0", "greater than 0"),
    key("negative", "seed=-1", "seed can't be -1", "at least 0"),
    key("too large", "seed=4294967296", "seed can't be 4294967296", "less than 4294967296"),
    key("share above one", "data.split.test=1.5", "data.split.test can't be 1.5", "less than 1"),
    key("shares above one", "data.split.test=0.95", "data.split", "0.95", "leave something"),
    key("dropout of one", "model.dropout=1", "model.dropout can't be 1", "less than 1"),
    key("decay above one", "optimizer.layer_decay=2", "layer_decay can't be 2", "at most 1"),
    key("no number", "optimizer.lr=nan", "optimizer.lr can't be NaN", "finite"),
    key("truth", "baselines.enabled=maybe", '"maybe"', "true or false"),
    key("list of three", "data.text=[a,b,c]", 'data.text can\'t be ["a", "b", "c"]', "list of 2"),
    key("value for a section", "model.lora=8", "model.lora can't be 8", "model.lora.rank=VALUE"),
    key("part of a map", "loss.class_weights={a:0}", "loss.class_weights.a", "0", "greater than 0"),
    key("name with a slash", "name=a/b", 'name can\'t be "a/b"', "use letters"),
    key("precision", "trainer.precision=bf16", '"bf16"', "'16-mixed'", "did you mean bf16-mixed?"),
    key("accelerator", "trainer.accelerator=cuda", '"cuda"', "'auto', 'cpu', 'gpu' or 'mps'"),
    key("overflow", "data.overflow=keep_haed", '"keep_haed"', "did you mean keep_head?"),
    key("mode", "tracking.mode=onlin", '"onlin"', "did you mean online?"),
    key("policy that isn't allowed", "data.on_problem.malformed=keep", '"keep"', "'error'"),
    Case("split", "evaluate split=tset", [('split can\'t be "tset"', "'train'", "mean test?")]),
    Case(
        "sampler",
        "sweep sweep=smoke sweep.sampler=tpee",
        [('sweep.sampler can\'t be "tpee"', "did you mean tpe?")],
    ),
    Case(
        "key of what is searched",
        "sweep sweep=smoke +sweep.space.seed.choises=[1]",
        [("'sweep.space.seed.choises'", "did you mean sweep.space.seed.choices")],
    ),
    key("reference", "name=${data.nam}", "name refers to 'data.nam'", "set name"),
    key("missing", "seed=???", "seed is not given", "add seed=VALUE"),
    Case(
        "several values at once",
        "train trainer.devices=0 optimizer.lr=x name='a b' trainer.monitor=f1_marco",
        [
            ("optimizer.lr can't be", "a number"),
            ("trainer.devices can't be 0",),
            ('name can\'t be "a b"',),
            ("trainer.monitor", "'f1_marco'", "did you mean f1_macro"),
        ],
    ),
]

FILES = "data=files data.train=a.csv"
CONTRADICTIONS = [
    key(
        "metric of single labels",
        f"{FILES} data.multi_label=true trainer.monitor=accuracy",
        *("trainer.monitor", "'accuracy'", "multi-label", "did you mean subset_accuracy?"),
    ),
    key(
        "metric of an unknown label",
        f"{FILES} data.labels=[good,bad] trainer.monitor=f1/godo",
        *("trainer.monitor=f1/godo", "no label 'godo'", "did you mean f1/good"),
    ),
    key(
        "weight of an unknown label",
        f"{FILES} data.labels=[good,bad] loss.class_weights={{godo:2}}",
        *("loss.class_weights", "no label 'godo'", "did you mean good?"),
    ),
    key("label twice", f"{FILES} data.labels=[a,a]", "declared twice: a, a", "data.labels"),
    key(
        "labels against thresholds",
        f"{FILES} data.labels=[a,b] data.label_thresholds=[0,1]",
        *("2 thresholds make 3 classes", "2 labels", "data.label_thresholds or data.labels"),
    ),
    key("text as label", f"{FILES} data.label=text", "data.text and data.label", "column text"),
    key("pair of one", f"{FILES} data.text=[a,a]", "data.text names the column a twice"),
    key(
        "too few tokens",
        "trainer.max_tokens=64 data.max_length=128",
        *("trainer.max_tokens=64", "data.max_length=128", "set trainer.max_tokens=128"),
    ),
    key(
        "updates of what is frozen",
        "model.lora.rank=8 model.freeze=encoder",
        *("model.lora.rank=8", "model.freeze=encoder", "set model.lora.rank=0"),
    ),
    key(
        "half precision on a CPU",
        "trainer.accelerator=cpu trainer.precision=16-mixed",
        *("trainer.precision=16-mixed", "cpu", "bf16-mixed"),
    ),
    key("no folder", "model=folder", "model.path", "model.source is folder", "model.path=FOLDER"),
    key("no data", "data=files", "data", "add data.train=FILE"),
    Case(
        "only what a data set needs",
        f"data {FILES} data.label=text trainer.monitor=nothing",
        [("data.text and data.label",)],
    ),
    Case(
        "several at once",
        f"train {FILES} data.group=label trainer.max_tokens=9 model=folder",
        [("data.group and data.label",), ("model.path",), ("trainer.max_tokens=9",)],
    ),
]

MINE = "defaults: [base, _self_]\nname: mine\ntrain: a.csv\n"
EXPERIMENT = "# @package _global_\n"
OWN = "train --config-dir my"
IN_FILES = [
    Case(
        "misspelt key in a file",
        f"{OWN} data=mine",
        [("'data.lable'", "in my/data/mine.yaml:4", "did you mean data.label")],
        {"data/mine.yaml": f"{MINE}lable: x\n"},
    ),
    Case(
        "misspelt section in a file",
        f"{OWN} experiment=mine",
        [("'trainr'", "in my/experiment/mine.yaml:3", "did you mean trainer")],
        {"experiment/mine.yaml": f"{EXPERIMENT}trainr:\n  patience: 3\n"},
    ),
    Case(
        "wrong values in a file, and one beside it",
        f"{OWN} experiment=mine seed=-1",
        [
            ("trainer.max_epochs can't be 0", "in my/experiment/mine.yaml:3", "greater than 0"),
            ("trainer.precision", "in my/experiment/mine.yaml:4", "did you mean bf16-mixed?"),
            ("seed can't be -1: give",),
        ],
        {
            "experiment/mine.yaml": f"{EXPERIMENT}trainer:\n  max_epochs: 0\n"
            "  precision: bf16\nseed: 3\n"
        },
    ),
    Case(
        "contradiction of a file and an override",
        f"{OWN} data=mine trainer.monitor=f1/godo",
        [("no label 'godo'", "in my/data/mine.yaml:4", "did you mean f1/good")],
        {"data/mine.yaml": f"{MINE}labels: [good, bad]\n"},
    ),
    Case(
        "reference in a file",
        f"{OWN} data=mine",
        [("data.test refers to 'data.tset'", "in my/data/mine.yaml:4", "set data.test")],
        {"data/mine.yaml": f"{MINE}test: ${{data.tset}}\n"},
    ),
    Case(
        "misspelt group in a file's defaults",
        f"{OWN} experiment=mine",
        [("'modle'", "in experiment/mine.yaml", "did you mean model?")],
        {"experiment/mine.yaml": f"{EXPERIMENT}defaults:\n  - override /modle: minilm\n"},
    ),
    Case(
        "misspelt choice in a file's defaults",
        f"{OWN} experiment=mine",
        [("model named 'minilmm'", "'override /model: minilmm'", "did you mean minilm?")],
        {"experiment/mine.yaml": f"{EXPERIMENT}defaults:\n  - override /model: minilmm\n"},
    ),
    Case(
        "misspelt base",
        f"{OWN} data=mine",
        [("no file data/bass.yaml", "in data/mine.yaml", "did you mean base?")],
        {"data/mine.yaml": MINE.replace("base", "bass")},
    ),
    Case(
        "no base",
        f"{OWN} data=mine",
        [("data lacks", "keys", "in my/data/mine.yaml:1", "defaults: [base, _self_]")],
        {"data/mine.yaml": "name: mine\ntrain: a.csv\n"},
    ),
    Case(
        "no package",
        f"{OWN} experiment=mine",
        [("'experiment'", "in my/experiment/mine.yaml:2", "# @package _global_")],
        {"experiment/mine.yaml": "trainer:\n  patience: 3\n"},
    ),
    Case(
        "broken file",
        f"{OWN} data=mine",
        [("the YAML can't be read", "in my/data/mine.yaml:5", "expected")],
        {"data/mine.yaml": f"{MINE}labels: [good\n"},
    ),
    Case(
        "value left out in a file",
        f"{OWN} data=mine",
        [("data.name is not given: add data.name=VALUE",)],
        {"data/mine.yaml": MINE.replace("name: mine\n", "")},
    ),
    Case(
        "wrong value in a file given by its path",
        "train data=my/mine.yaml",
        [("data.max_length can't be", "in my/mine.yaml:3", "whole number")],
        {"mine.yaml": "name: mine\ntrain: a.csv\nmax_length: long\n"},
    ),
]

SHOWN = [
    Case("shown, not run", "train --cfg job trainer.patience=0", [("patience can't be 0",)]),
    Case("unknown key to show", "config trainer.max_epoch", [("did you mean trainer.max_epochs",)]),
    Case("unknown group to show", "config experimnt", [("'experimnt'", "mean experiment?")]),
    Case("unknown schema", "config schema trainr", [("'trainr'", "did you mean trainer")]),
    Case("part that isn't there", "train --cfg job -p optimiser", [("'optimiser'", "optimizer")]),
]

CASES = [*MISSPELT, *CHOICES, *TYPES_AND_RANGES, *CONTRADICTIONS, *IN_FILES, *SHOWN]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_a_wrong_configuration_is_told_whole_and_nothing_is_written(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in case.files.items():
        path = tmp_path / "my" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    before = sorted(tmp_path.rglob("*"))
    assert main(shlex.split(case.command)) == 2
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == len(case.lines), captured.err
    for line, words in zip(lines, case.lines, strict=True):
        assert line.startswith("textmill: error: ")
        assert [word for word in words if word not in line] == [], line
    assert captured.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_there_are_many_of_them_and_none_twice() -> None:
    assert len(CASES) == len({case.name for case in CASES}) >= 40


def test_none_of_them_needs_what_trains() -> None:
    """All is told by the time that the verb's module, with torch behind it, is imported."""
    script = (
        "import sys\nfrom textmill.cli import main\n"
        "status = main(['train', 'trainer.max_epochs=0', 'trainer.monitor=x'])\n"
        "print(status, *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    status, *modules = done.stdout.split()
    assert status == "2"
    assert not {"torch", "lightning", "transformers", "datasets", "numpy"} & set(modules)

"""``textmill evaluate`` judges a bundle on any data that fit it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests import bundles
from textmill.cli import main


@pytest.fixture
def bundle(tiny_encoder: Path, tmp_path: Path) -> Path:
    return bundles.make_bundle(tiny_encoder, tmp_path / "bundle")


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    lines = ["text,label"]
    lines += [f"a film {number},{('bad', 'fair', 'good')[number % 3]}" for number in range(60)]
    path = tmp_path / "reviews.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def evaluate(bundle: Path, *overrides: str) -> int:
    return main(["evaluate", f"bundle={bundle}", "data=files", *overrides])


def test_a_single_file_is_judged_whole_with_split_all(
    bundle: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "judged"
    assert evaluate(bundle, f"data.train={reviews}", "split=all", f"output={output}") == 0
    shown = capsys.readouterr()
    metrics = json.loads((output / "metrics.json").read_text())
    assert f"all/accuracy {metrics['all/accuracy']:.6f}" in shown.out
    assert "60 examples" in shown.err
    table = pq.read_table(output / "predictions.parquet")
    assert len(table) == 60
    tokenizer = bundles.tiny_tokenizer(bundle)
    lengths = [len(ids) for ids in tokenizer(table["text"].to_pylist())["input_ids"]]
    assert table["tokens"].to_pylist() == lengths
    assert not any(table["cut"].to_pylist())
    correct = table["correct"].to_pylist()
    assert metrics["all/accuracy"] == pytest.approx(sum(correct) / 60)


def test_the_form_that_is_asked_for_is_judged(
    bundle: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def probabilities(form: str) -> list[float]:
        output = tmp_path / form
        overrides = (f"data.train={reviews}", "split=all", f"form={form}", f"output={output}")
        assert evaluate(bundle, *overrides) == 0
        table = pq.read_table(output / "predictions.parquet")
        return list(table["probability/good"].to_pylist())

    assert evaluate(bundle, f"data.train={reviews}", "split=all", "form=onnx") == 2
    assert "textmill export" in capsys.readouterr().err
    assert main(["export", str(bundle)]) == 0
    original, graph = probabilities("torch"), probabilities("onnx")
    assert graph != original
    assert graph == pytest.approx(original, abs=1e-4)


def test_a_local_copy_of_a_hub_data_set_is_judged_whole_too(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "name: mine\nsource: hub\ntrain: train\nvalidation: validation\n"
        "hub: {repo: owner/mine}\nlocal: {train: a.csv, validation: b.csv}\n"
    )
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text(f"text,label\na film {name},good\na {name},bad\n")
    given = ["evaluate", f"bundle={bundle}", f"data={mine}", f"data.path={tmp_path}", "split=all"]
    assert main(given) == 0
    assert "4 examples of mine" in capsys.readouterr().err


def test_a_column_to_slice_by_is_in_the_files_and_in_the_terminal(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output = tmp_path / "test.csv", tmp_path / "judged"
    path.write_text("text,label,source\na film,bad,press\nanother film,good,\n")
    given = (f"data.test={path}", f"output={output}")
    assert evaluate(bundle, *given, "data.slices=[source,1]") == 0
    table = pq.read_table(output / "predictions.parquet")
    assert table["slice/source"].to_pylist() == ["press", ""]
    assert table["slice/1"].to_pylist() == ["bad", "good"]
    slices = pq.read_table(output / "slices.parquet").to_pylist()
    sources = {row["value"]: row["examples"] for row in slices if row["slice"] == "source"}
    assert sources == {"press": 1, "(none)": 1}
    assert "press" in capsys.readouterr().out


def test_the_test_split_is_the_one_that_training_would_make(
    bundle: Path, reviews: Path, tmp_path: Path
) -> None:
    places = []
    for seed in (1, 1, 2):
        output = tmp_path / "judged"
        assert evaluate(bundle, f"data.train={reviews}", f"seed={seed}", f"output={output}") == 0
        places.append(pq.read_table(output / "predictions.parquet")["place"].to_pylist())
    assert len(places[0]) == 6
    assert places[0] == places[1]
    assert places[0] != places[2]


def test_a_test_file_alone_is_enough(bundle: Path, reviews: Path) -> None:
    assert evaluate(bundle, f"data.test={reviews}") == 0


def test_all_splits_of_a_data_set_are_judged_together(
    bundle: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "test.csv"
    other.write_text("text,label\nanother film,bad\n")
    assert evaluate(bundle, f"data.train={reviews}", f"data.test={other}", "split=all") == 0
    assert "61 examples" in capsys.readouterr().err


def test_examples_that_the_bundle_was_trained_on_are_told(
    tiny_encoder: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from textmill.data.checks import Policies
    from textmill.data.loading import Columns, LabelRule, load_examples
    from textmill.data.sources.files import FilesSource

    examples = load_examples(
        FilesSource({"test": str(reviews)}),
        Columns(("text",), "label"),
        LabelRule(),
        Policies(),
        None,
        needed=("test",),
        labels=bundles.SINGLE,
        cache=tmp_path / "cache",
    )
    bundle = bundles.make_bundle(tiny_encoder, tmp_path / "seen")
    info = json.loads((bundle / "textmill.json").read_text())
    info["fingerprints"]["data/train"] = examples.fingerprints["test"]
    (bundle / "textmill.json").write_text(json.dumps(info))
    assert evaluate(bundle, f"data.test={reviews}") == 0
    assert "was trained on this test split" in capsys.readouterr().err

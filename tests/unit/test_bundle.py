"""A bundle is written whole, opens with transformers alone, and tells what is broken in it."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.bundles import CARD, GOLDEN, SINGLE, edit_json, make_bundle, make_model, tiny_tokenizer
from textmill.bundle import BundleInfo, find_bundle, read_bundle, write_bundle
from textmill.encoding import LengthPolicy
from textmill.errors import InputError, MachineError, TextmillError
from textmill.labels import Labels


@pytest.fixture
def bundle(tiny_encoder: Path, tmp_path: Path) -> Path:
    return make_bundle(tiny_encoder, tmp_path / "bundle")


def problem_of(path: str | Path) -> str:
    """The one line of the error that opening a bundle ends in."""
    with pytest.raises(TextmillError) as caught:
        read_bundle(path).scorer()
    (line,) = caught.value.problems
    assert "\n" not in line
    return line


def test_what_is_written_is_read_back(bundle: Path) -> None:
    found = read_bundle(bundle)
    assert found.labels == SINGLE
    assert found.policy == LengthPolicy(32, "keep_head")
    assert found.info.text_columns == ("text",)
    assert found.info.fingerprints["data"] == "d" * 64
    assert set(found.info.fingerprints) == {"data", "weights", "tokenizer"}


def test_it_holds_a_hugging_face_folder_and_no_pickle(bundle: Path) -> None:
    assert {path.name for path in bundle.iterdir()} == {
        "README.md",
        "config.json",
        "golden.jsonl",
        "model.safetensors",
        "textmill.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    config = json.loads((bundle / "config.json").read_text())
    assert config["id2label"] == {"0": "bad", "1": "fair", "2": "good"}
    assert config["label2id"] == {"bad": 0, "fair": 1, "good": 2}
    assert config["problem_type"] == "single_label_classification"
    assert (bundle / "README.md").read_text() == CARD


def test_names_beyond_ascii_survive(tiny_encoder: Path, tmp_path: Path) -> None:
    labels = Labels(("schlecht/übel", "良い"))
    bundle = make_bundle(tiny_encoder, tmp_path / "bundle", labels)
    assert read_bundle(bundle).labels == labels
    model = AutoModelForSequenceClassification.from_pretrained(bundle)
    assert model.config.id2label == labels.id2label


def test_every_file_has_the_mode_that_the_umask_gives(tiny_encoder: Path, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        bundle = make_bundle(tiny_encoder, tmp_path / "bundle")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in bundle.iterdir()} == {0o640}


@pytest.mark.parametrize(("overflow", "side"), [("keep_head", "right"), ("keep_tail", "left")])
def test_the_tokenizer_cuts_as_the_policy_does(
    tiny_encoder: Path, tmp_path: Path, overflow: str, side: str
) -> None:
    policy = LengthPolicy(12, overflow)  # type: ignore[arg-type]
    bundle = make_bundle(tiny_encoder, tmp_path / "bundle", policy=policy)
    tokenizer = AutoTokenizer.from_pretrained(bundle)
    assert (tokenizer.model_max_length, tokenizer.truncation_side) == (12, side)


def test_golden_scores_are_those_of_the_model_that_was_given(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    import torch

    model, tokenizer = make_model(tiny_encoder, SINGLE), tiny_tokenizer(tiny_encoder)
    bundle = make_bundle(tiny_encoder, tmp_path / "bundle")
    lines = [json.loads(line) for line in (bundle / "golden.jsonl").read_text().splitlines()]
    assert [line["text"] for line in lines] == GOLDEN
    for line in lines:
        with torch.inference_mode():
            logits = model.eval()(**tokenizer(line["text"], return_tensors="pt")).logits
        expected = torch.softmax(logits[0], dim=-1).numpy()
        assert list(line["scores"]) == list(SINGLE.names)
        np.testing.assert_allclose(list(line["scores"].values()), expected, atol=1e-5)


def test_writing_leaves_model_and_tokenizer_as_they_were(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    model, tokenizer = make_model(tiny_encoder, SINGLE), tiny_tokenizer(tiny_encoder)
    model.train()
    write(tmp_path / "bundle", model, tokenizer)
    assert model.config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert model.config.problem_type is None
    assert tokenizer.model_max_length == 64
    assert model.training


def write(folder: Path, model: object, tokenizer: object, **changes: object) -> None:
    arguments = {
        "labels": SINGLE,
        "policy": LengthPolicy(32),
        "text_columns": ["text"],
        "fingerprints": {},
        "golden_texts": GOLDEN,
        "card": CARD,
    }
    write_bundle(folder, model, tokenizer, **{**arguments, **changes})  # type: ignore[arg-type]


def test_a_failed_writing_leaves_nothing_and_keeps_what_was_there(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    model, tokenizer = make_model(tiny_encoder, SINGLE), tiny_tokenizer(tiny_encoder)
    folder = tmp_path / "bundle"
    with pytest.raises(InputError):
        write(folder, model, tokenizer, golden_texts=["fine", 3])
    assert list(tmp_path.iterdir()) == []
    write(folder, model, tokenizer)
    with pytest.raises(InputError):
        write(folder, model, tokenizer, golden_texts=["fine", 3], card="new")
    assert (folder / "README.md").read_text() == CARD
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_outputs_and_labels_must_be_as_many(tiny_encoder: Path, tmp_path: Path) -> None:
    model, tokenizer = make_model(tiny_encoder, SINGLE), tiny_tokenizer(tiny_encoder)
    with pytest.raises(ValueError, match="3 outputs for 2 labels"):
        write(tmp_path / "bundle", model, tokenizer, labels=Labels(("a", "b")))


def test_nothing_is_said_on_writing_and_loading(
    bundle: Path, tiny_encoder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers.utils import logging

    logging.enable_progress_bar()
    before = logging.get_verbosity()
    capfd.readouterr()
    make_bundle(tiny_encoder, tmp_path / "other")
    read_bundle(bundle).scorer()
    assert capfd.readouterr() == ("", "")
    assert logging.get_verbosity() == before
    assert logging.is_progress_bar_enabled()


def test_the_fingerprint_changes_with_each_file_that_matters(bundle: Path) -> None:
    seen = {read_bundle(bundle).fingerprint()}
    (bundle / "README.md").write_text("another card")
    assert read_bundle(bundle).fingerprint() in seen
    for name in ("textmill.json", "config.json", "tokenizer.json", "tokenizer_config.json"):
        with (bundle / name).open("a") as file:
            file.write(" ")
        fingerprint = read_bundle(bundle).fingerprint()
        assert fingerprint not in seen
        seen.add(fingerprint)


class TestFinding:
    def test_a_run_stands_for_its_model(self, tiny_encoder: Path, tmp_path: Path) -> None:
        bundle = make_bundle(tiny_encoder, tmp_path / "run" / "model")
        assert find_bundle(tmp_path / "run") == bundle
        assert read_bundle(tmp_path / "run").folder == bundle

    def test_latest_is_the_newest_finished_run(
        self, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_bundle(tiny_encoder, tmp_path / "runs/2026-01-01/120000-first/model")
        (tmp_path / "runs/latest").symlink_to("2026-01-01/120000-first")
        monkeypatch.chdir(tmp_path)
        assert read_bundle("latest").labels == SINGLE

    def test_latest_without_a_run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert "no finished run yet" in problem_of("latest")
        assert "textmill train" in problem_of("latest")

    def test_no_folder(self, tmp_path: Path) -> None:
        line = problem_of(tmp_path / "nowhere")
        assert "no such bundle" in line
        assert str(tmp_path / "nowhere") in line
        assert "textmill train" in line

    def test_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert "a bundle is a folder, and this is a file" in problem_of(tmp_path / "file")


class TestBroken:
    def test_all_missing_files_are_told_at_once(self, bundle: Path) -> None:
        (bundle / "model.safetensors").unlink()
        (bundle / "tokenizer.json").unlink()
        line = problem_of(bundle)
        assert "lacks model.safetensors, tokenizer.json" in line
        assert str(bundle) in line

    @pytest.mark.parametrize("kept", [0, 4, 100, 0.5, -1])
    def test_cut_off_weights(self, bundle: Path, kept: float) -> None:
        weights = bundle / "model.safetensors"
        whole = weights.read_bytes()
        weights.write_bytes(whole[: int(kept * len(whole)) if kept == 0.5 else int(kept)])
        assert "the weights are cut off or broken" in problem_of(bundle)

    @pytest.mark.parametrize("name", ["config.json", "textmill.json"])
    @pytest.mark.parametrize("content", [b"", b'{"a": ', b"[]", b"\xff\xfe"])
    def test_corrupt_json(self, bundle: Path, name: str, content: bytes) -> None:
        (bundle / name).write_bytes(content)
        line = problem_of(bundle)
        assert "JSON" in line
        assert str(bundle / name) in line

    @pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
    def test_corrupt_tokenizer(self, bundle: Path, name: str) -> None:
        (bundle / name).write_text('{"model": ')
        assert str(bundle) in problem_of(bundle)

    def test_a_newer_format(self, bundle: Path) -> None:
        edit_json(bundle / "textmill.json", format_version=2, something_new=True)
        line = problem_of(bundle)
        assert "made by a newer Textmill (format 2, known: 1)" in line
        assert "upgrade" in line

    @pytest.mark.parametrize(
        ("key", "value"),
        [("max_length", "long"), ("overflow", "keep_none"), ("thresholds", ["a"])],
    )
    def test_wrong_values(self, bundle: Path, key: str, value: object) -> None:
        edit_json(bundle / "textmill.json", **{key: value})
        line = problem_of(bundle)
        assert key in line
        assert "textmill.json" in line

    def test_missing_keys(self, bundle: Path) -> None:
        (bundle / "textmill.json").write_text("{}")
        assert "Field required" in problem_of(bundle)

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"id2label": None}, "id2label does not name"),
            ({"id2label": {"0": "bad", "2": "good"}}, "id2label does not name"),
            ({"id2label": {"0": "a", "1": "a", "2": "b"}}, "contradicts id2label"),
            ({"label2id": {"bad": 2, "fair": 1, "good": 0}}, "contradicts id2label"),
            ({"problem_type": "multi_label_classification"}, "problem_type"),
            ({"model_type": "no-such-architecture"}, "transformers can't load"),
            ({"hidden_size": 64}, "transformers can't load"),
            ({"num_hidden_layers": 3}, "weights are missing"),
        ],
    )
    def test_a_configuration_that_fits_nothing(
        self, bundle: Path, changes: dict[str, object], said: str
    ) -> None:
        edit_json(bundle / "config.json", **changes)
        assert said in problem_of(bundle)

    def test_thresholds_for_other_labels(self, bundle: Path) -> None:
        edit_json(bundle / "textmill.json", thresholds=[0.5])
        assert "1 thresholds for 3 labels" in problem_of(bundle)

    def test_code_in_a_bundle_is_never_run(self, bundle: Path, tmp_path: Path) -> None:
        (bundle / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
        edit_json(
            bundle / "config.json",
            model_type="evil",
            auto_map={
                "AutoConfig": "evil.Config",
                "AutoModelForSequenceClassification": "evil.Model",
            },
        )
        assert "transformers can't load" in problem_of(bundle)
        assert not (tmp_path / "ran").exists()

    def test_a_file_that_may_not_be_read(
        self, bundle: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(path: Path) -> bytes:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(Path, "read_bytes", refuse)
        with pytest.raises(MachineError, match="Permission denied"):
            read_bundle(bundle)


def test_info_is_a_value() -> None:
    info = BundleInfo(("text",), False, 8, "keep_head", None, {})
    assert info == BundleInfo(("text",), False, 8, "keep_head", None, {})
    with pytest.raises(AttributeError):
        info.max_length = 9  # type: ignore[misc]

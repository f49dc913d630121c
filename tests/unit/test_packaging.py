"""Other forms of a model are added to a bundle only if they prove as good, and verified there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.bundles import MULTI, RUINED, change_weights, make_bundle, move_thresholds
from tests.tiny import SENTENCES
from textmill.bundle import read_bundle
from textmill.cli import main
from textmill.encoding import LengthPolicy
from textmill.errors import InputError, MachineError
from textmill.forms.choosing import choose_form
from textmill.forms.graph_file import explained
from textmill.forms.openvino_form import OpenVinoModel
from textmill.forms.quantizing import quantize
from textmill.packaging import examples_of, package
from textmill.parity import ODD_TEXTS, Agreement, Examples
from textmill.predictor import Predictor
from textmill.scoring import Scorer, Scores, Texts
from textmill.verification import verify

TEXTS = [*SENTENCES, *ODD_TEXTS]


@pytest.fixture(scope="module")
def whole(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with all forms; read only."""
    folder = make_bundle(tiny_encoder, tmp_path_factory.mktemp("whole") / "bundle")
    examples = Examples(surest_texts(folder), None, "", "six texts")
    assert package(folder, examples, ["int8", "bf16"]).refusals == ()
    return folder


def surest_texts(folder: Path) -> list[str]:
    """The six of which a network is surest; most labels of a random one hang by a thread."""
    scores = np.sort(read_bundle(folder).scorer().probabilities(TEXTS), axis=1)
    return [TEXTS[row] for row in np.argsort(scores[:, -2] - scores[:, -1])[:6]]


@pytest.fixture
def bundle(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "bundle"))


def different(path: Path) -> list[str]:
    return [check.part for check in verify(path) if check.holds is False]


def test_each_form_is_recorded_with_its_proof(whole: Path) -> None:
    forms = json.loads((whole / "textmill.json").read_text())["forms"]
    assert set(forms) == {"onnx", "int8", "bf16"}
    assert forms["onnx"]["figures"]["largest_difference"] < 1e-4
    assert forms["int8"]["figures"]["equal_labels"] == 1
    assert forms["bf16"]["figures"]["equal_labels"] == 1
    assert set(forms["onnx"]["versions"]) == {"torch", "transformers", "onnx", "onnxruntime"}
    assert "openvino" in forms["bf16"]["versions"]
    assert not list(whole.glob(".export*"))


def test_the_attention_of_whole_layers_is_fused(whole: Path) -> None:
    graph = onnx.load(whole / "onnx/model.onnx").graph
    # Of two layers, the last computes one token.
    assert sum(node.op_type == "Attention" for node in graph.node) == 1


def test_the_graph_gives_torch_s_scores_in_batches_of_any_size(whole: Path) -> None:
    original = Predictor.from_bundle(whole, form="torch")
    graph = Predictor.from_bundle(whole, form="onnx")
    expected = original.probabilities(TEXTS)
    for size in (1, 3, None):
        found = graph.probabilities(TEXTS, batch_size=size)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_bfloat16_gives_nearly_torch_s_scores_in_batches_of_any_size(whole: Path) -> None:
    original = Predictor.from_bundle(whole, form="torch").probabilities(TEXTS)
    coarse = Predictor.from_bundle(whole, form="bf16")
    for size in (1, 3, None):
        found = coarse.probabilities(TEXTS, batch_size=size)
        np.testing.assert_allclose(found, original, atol=0.05)


def test_the_fastest_form_is_used_unless_another_is_chosen(whole: Path) -> None:
    assert Predictor.from_bundle(whole).form == "int8"
    forms = ("torch", "onnx", "int8", "bf16")
    assert tuple(Predictor.from_bundle(whole, form=form).form for form in forms) == forms


@pytest.mark.parametrize(("bfloat16", "fastest"), [(True, "bf16"), (False, "onnx")])
def test_bfloat16_is_chosen_where_the_processor_computes_it(
    bfloat16: bool, fastest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("textmill.environment.processor_has_bfloat16", lambda: bfloat16)
    assert choose_form("auto", ("onnx", "bf16"), "cpu", "here") == fastest


def test_threads_share_a_model_in_bfloat16(whole: Path) -> None:
    predictor = Predictor.from_bundle(whole, form="bf16")
    expected = [predictor.probabilities([text]) for text in TEXTS]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda text: predictor.probabilities([text]), TEXTS * 3))
    np.testing.assert_array_equal(np.concatenate(found), np.concatenate(expected * 3))


def test_openvino_meets_few_shapes(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = set()
    model = Predictor.from_bundle(whole, form="bf16").scorer.model
    assert isinstance(model, OpenVinoModel)
    request = model._request()

    class Watching:
        def infer(self, inputs: dict[str, np.ndarray]) -> object:
            shapes.add(inputs["input_ids"].shape)
            return request.infer(inputs)

    monkeypatch.setattr(model, "_request", Watching)
    ids = np.full((70, 16), 9)
    batch = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": 0 * ids}
    whole_batch = model.logits(batch)
    for count in range(1, 71):
        found = model.logits({name: values[:count] for name, values in batch.items()})
        assert found.shape == (count, 3)
        np.testing.assert_allclose(found, whole_batch[:count], atol=0.05)
    assert sorted(rows for rows, _ in shapes) == [1, 2, 4, *range(8, 73, 8)]


def test_openvino_reports_nothing_to_its_makers(whole: Path) -> None:
    code = (
        "import sys, textmill\n"
        f"textmill.load({str(whole)!r}, form='bf16').predict(['a film'])\n"
        "print(sys.modules['openvino'].__name__, sys.modules['openvino_telemetry'])"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout == "openvino None\n"


@pytest.mark.parametrize("kind", ["several labels", "pairs"])
def test_pairs_and_several_labels(kind: str, tiny_encoder: Path, tmp_path: Path) -> None:
    pairs = kind == "pairs"
    folder = (
        make_bundle(tiny_encoder, tmp_path / "bundle", text_columns=("first", "second"))
        if pairs
        else make_bundle(tiny_encoder, tmp_path / "bundle", MULTI, thresholds=[0.2, 0.5, 0.8])
    )
    package(folder, examples_of(folder, None))
    texts = list(zip(SENTENCES, reversed(SENTENCES), strict=True)) if pairs else SENTENCES
    original = Predictor.from_bundle(folder, form="torch").predict(texts)
    found = Predictor.from_bundle(folder, form="onnx").predict(texts)
    assert [one.label for one in found] == [one.label for one in original]
    assert not different(folder)


def test_a_ruined_int8_form_is_refused_with_its_figures(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ruined(source: Path, path: Path, **_more: object) -> None:
        quantize(source, path)
        model = onnx.load(path)
        for weights in model.graph.initializer:
            values = numpy_helper.to_array(weights)
            if values.dtype == np.int8:
                turned = numpy_helper.from_array(values[::-1].copy(), weights.name)
                weights.CopyFrom(turned)
        onnx.save(model, path)

    monkeypatch.setattr("textmill.packaging.quantize", ruined)
    monkeypatch.setattr("textmill.packaging.quantize_in_blocks", ruined)
    (refusal,) = package(bundle, Examples(TEXTS, None, "", "odd texts"), ["int8"]).refusals
    assert isinstance(refusal, MachineError)
    assert f"of {len(TEXTS)} texts of odd texts; allowed: at least 99% equal" in str(refusal)
    assert Predictor.from_bundle(bundle).form == "onnx"
    assert sorted(path.name for path in (bundle / "onnx").iterdir()) == ["model.onnx"]


@pytest.mark.parametrize(
    ("equal", "chosen"),
    [
        ((0.996, 1.0, 1.0), 0.996),
        ((0.992, 0.998, 1.0), 0.998),
        ((0.994, 0.991, 0.993), 0.994),
        ((0.97, 0.98, 0.992), 0.992),
    ],
)
def test_a_slower_int8_graph_is_taken_where_the_fastest_is_not_near_and_it_is_nearer(
    equal: tuple[float, ...], chosen: float, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter(equal)
    monkeypatch.setattr(
        "textmill.packaging.labels_apart", lambda *_: Agreement(1000, next(found), 0.1)
    )
    packaged = package(bundle, Examples(TEXTS, None, "", "odd texts"), ["int8"])
    assert packaged.refusals == ()
    assert packaged.bundle.info.forms["int8"].figures["equal_labels"] == chosen
    kinds = {node.op_type for node in onnx.load(bundle / "onnx/model.int8.onnx").graph.node}
    assert ("QEmbedLayerNormalization" in kinds) == (chosen == equal[0])


def test_the_original_labels_the_examples_once_whatever_is_tried(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelling: list[Scorer] = []
    probabilities = Scorer.probabilities

    def noted(scorer: Scorer, texts: Texts) -> Scores:
        labelling.extend([scorer] if texts is TEXTS else [])
        return probabilities(scorer, texts)

    monkeypatch.setattr(Scorer, "probabilities", noted)
    monkeypatch.setattr("textmill.parity.NEARLY_ALL", 2)
    package(bundle, Examples(TEXTS, None, "", "odd texts"), ["int8"])
    assert len(labelling) == len(set(labelling)) == 4, "the original, and three graphs"


def test_a_form_in_bfloat16_with_other_labels_is_refused_and_the_others_are_kept(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = OpenVinoModel.logits
    monkeypatch.setattr(OpenVinoModel, "logits", lambda *inputs: -computed(*inputs))
    examples = Examples(surest_texts(bundle), None, "", "six texts")
    (refusal,) = package(bundle, examples, ["bf16", "int8"]).refusals
    assert "bfloat16 costs too much (equal labels on 0.00% of 6 texts" in str(refusal)
    assert read_bundle(bundle).forms == ("torch", "onnx", "int8")


def test_a_graph_that_openvino_cannot_use_costs_the_other_forms_nothing(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(path: Path) -> None:
        with explained("OpenVINO", path):
            raise RuntimeError("no such operation\nin a long trace")

    monkeypatch.setattr("textmill.forms.openvino_form._compiled", failing)
    examples = Examples(surest_texts(bundle), None, "", "six texts")
    (refusal,) = package(bundle, examples, ["bf16", "int8"]).refusals
    assert "OpenVINO can't use the file (no such operation)" in str(refusal)
    assert read_bundle(bundle).forms == ("torch", "onnx", "int8")


def test_all_that_is_missing_for_an_export_is_told_before_any_work(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("textmill.installed.find_spec", lambda _name: None)
    assert main(["export", str(bundle), "--precision", "bf16"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert [line.rpartition(": ")[2] for line in told] == [
        "pip install 'textmill[onnx]'",
        "pip install 'textmill[openvino]'",
    ]


def test_bfloat16_is_not_proved_on_a_processor_without_it(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("textmill.forms.exporting.processor_has_bfloat16", lambda: False)
    assert main(["export", str(bundle), "--precision", "bf16"]) == 2
    assert "this processor doesn't compute in bfloat16" in capsys.readouterr().err


def test_nothing_changes_when_the_graph_is_not_the_original(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_bundle(tiny_encoder, tmp_path / "bundle")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr("textmill.parity.TOLERANCE", 0.0)
    with pytest.raises(MachineError, match="the exported model is not the original"):
        package(folder, examples_of(folder, None))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


class TestVerify:
    def test_a_whole_bundle(self, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["verify", str(whole)]) == 0
        assert "form int8" in capsys.readouterr().out

    @pytest.mark.parametrize("part", RUINED)
    def test_what_was_changed_is_named(self, bundle: Path, part: str) -> None:
        RUINED[part](bundle)
        assert part in different(bundle)
        assert main(["verify", str(bundle)]) == 1

    def test_changed_weights_give_other_scores(self, bundle: Path) -> None:
        change_weights(bundle)
        assert {"weights", "form torch"} <= set(different(bundle))

    def test_moved_thresholds_are_all_that_is_named(self, bundle: Path) -> None:
        move_thresholds(bundle)
        assert different(bundle) == ["thresholds"]

    def test_cut_off_weights(self, bundle: Path) -> None:
        path = bundle / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-100])
        assert different(bundle) == ["bundle"]

    @pytest.mark.parametrize(
        ("name", "of"),
        [("model.onnx", ["form onnx", "form bf16"]), ("model.int8.onnx", ["form int8"])],
    )
    def test_a_form_that_is_not_the_proved_one(
        self, bundle: Path, name: str, of: list[str]
    ) -> None:
        path = bundle / "onnx" / name
        path.write_bytes(path.read_bytes() + b"\n")
        assert different(bundle) == of


class TestChoosing:
    def test_torch_where_there_is_no_other(self) -> None:
        assert choose_form("auto", (), "cpu", "here") == "torch"

    def test_torch_without_onnxruntime(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            "textmill.forms.choosing.find_spec", lambda name: None if "onnx" in name else name
        )
        assert choose_form("auto", ("int8",), "cpu", "here") == "torch"

    def test_a_form_that_is_missing(self) -> None:
        with pytest.raises(InputError, match=r"no form 'int8'.*textmill export here"):
            choose_form("int8", ("onnx",), "cpu", "here")

    def test_a_form_that_does_not_fit_the_device(self) -> None:
        with pytest.raises(InputError, match="not for cuda"):
            choose_form("onnx", ("onnx",), "cuda", "here")


def test_texts_of_a_file_judge_int8(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("one text\nanother\n")
    assert examples_of(whole, path).texts == ["one text", "another"]
    path.write_text("")
    with pytest.raises(InputError, match="there are no texts"):
        examples_of(whole, path)


def test_long_texts_are_cut_in_every_form(tiny_encoder: Path, tmp_path: Path) -> None:
    folder = make_bundle(tiny_encoder, tmp_path / "b", policy=LengthPolicy(9, "keep_ends"))
    package(folder, Examples(TEXTS, None, "", "odd texts"), ["bf16"])
    original = Predictor.from_bundle(folder, form="torch").probabilities(TEXTS)
    for form, tolerance in (("onnx", 1e-4), ("bf16", 0.05)):
        found = Predictor.from_bundle(folder, form=form).probabilities(TEXTS)
        np.testing.assert_allclose(found, original, atol=tolerance)

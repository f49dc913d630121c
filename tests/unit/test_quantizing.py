"""8-bit integers, and how little they lose where a few channels outgrow the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from tests.bundles import make_bundle
from tests.tiny import SENTENCES
from textmill.bundle import load_network, read_bundle
from textmill.encoding import pad_batch
from textmill.forms.exporting import export_graph, fuse
from textmill.forms.quantizing import quantize, quantize_carefully, smooth
from textmill.scoring import Batch

WIDTH = 16
LARGE = 5


@pytest.fixture
def uneven(tmp_path: Path) -> Path:
    """Two products of a normalisation that makes one channel a hundred times as large."""
    gain = np.ones(WIDTH, np.float32)
    gain[LARGE] = 100
    return write_graph(
        tmp_path / "uneven.onnx",
        [
            helper.make_node("LayerNormalization", ["input", "gain"], ["normal"], name="normalise"),
            helper.make_node("MatMul", ["normal", "one"], ["left"], name="one product"),
            helper.make_node("MatMul", ["normal", "two"], ["right"], name="another"),
            helper.make_node("Add", ["left", "right"], ["output"], name="sum"),
        ],
        {"gain": gain, "one": random(WIDTH, WIDTH, seed=1), "two": random(WIDTH, WIDTH, seed=2)},
    )


@pytest.fixture(scope="module")
def fused(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Batch]:
    """The graph of a network of two layers, and a batch for it."""
    folder = tmp_path_factory.mktemp("fused")
    bundle = read_bundle(make_bundle(tiny_encoder, folder / "bundle"))
    scorer, (network, _) = bundle.scorer(), load_network(bundle)
    export_graph(network, scorer.padding, folder / "plain.onnx")
    fuse(folder / "plain.onnx", folder / "fused.onnx", network)
    encoded = scorer.encode(SENTENCES)
    batch = pad_batch(encoded.input_ids, encoded.token_type_ids, scorer.padding)
    return folder / "fused.onnx", batch


def write_graph(
    path: Path, nodes: list[onnx.NodeProto], weights: dict[str, npt.NDArray[np.float32]]
) -> Path:
    entry, end = (
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, WIDTH])
        for name in ("input", "output")
    )
    constants = [numpy_helper.from_array(values, name) for name, values in weights.items()]
    graph = helper.make_graph(nodes, "graph", [entry], [end], constants)
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), path)
    return path


def random(*shape: int, seed: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def computed(graph: Path, inputs: Batch) -> npt.NDArray[np.float32]:
    (found,) = onnxruntime.InferenceSession(graph).run(None, dict(inputs))
    return np.asarray(found)


def kinds(graph: Path) -> list[str]:
    return [node.op_type for node in onnx.load(graph).graph.node]


INPUT: Batch = {"input": random(64, WIDTH, seed=3)}  # type: ignore[dict-item]


def test_making_channels_even_changes_nothing_in_float32(uneven: Path, tmp_path: Path) -> None:
    smooth(uneven, tmp_path / "even.onnx", [INPUT])
    found, expected = computed(tmp_path / "even.onnx", INPUT), computed(uneven, INPUT)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    assert kinds(tmp_path / "even.onnx").count("Mul") == 1, "products of one value share it"


def test_where_one_channel_outgrows_the_others_even_ones_lose_less(
    uneven: Path, tmp_path: Path
) -> None:
    smooth(uneven, tmp_path / "even.onnx", [INPUT])
    lost = []
    for graph in (uneven, tmp_path / "even.onnx"):
        quantize(graph, tmp_path / "int8.onnx")
        assert kinds(tmp_path / "int8.onnx").count("MatMulInteger") == 2
        error = computed(tmp_path / "int8.onnx", INPUT) - computed(uneven, INPUT)
        lost.append(np.abs(error).mean())
    assert lost[1] < lost[0] / 3


def test_the_largest_values_of_all_batches_count(uneven: Path, tmp_path: Path) -> None:
    halves = [{"input": INPUT["input"][:32]}, {"input": INPUT["input"][32:]}]
    smooth(uneven, tmp_path / "halves.onnx", halves)
    smooth(uneven, tmp_path / "whole.onnx", [INPUT])
    assert (tmp_path / "halves.onnx").read_bytes() == (tmp_path / "whole.onnx").read_bytes()


def test_weights_that_are_used_elsewhere_too_stay_as_they_are(tmp_path: Path) -> None:
    graph = write_graph(
        tmp_path / "shared.onnx",
        [
            helper.make_node("LayerNormalization", ["input", "gain"], ["normal"], name="normalise"),
            helper.make_node("MatMul", ["normal", "one"], ["left"], name="one product"),
            helper.make_node("MatMul", ["input", "one"], ["right"], name="another"),
            helper.make_node("Add", ["left", "right"], ["output"], name="sum"),
        ],
        {"gain": np.ones(WIDTH, np.float32), "one": random(WIDTH, WIDTH, seed=1)},
    )
    smooth(graph, tmp_path / "even.onnx", [INPUT])
    np.testing.assert_array_equal(computed(tmp_path / "even.onnx", INPUT), computed(graph, INPUT))


@pytest.mark.parametrize(("more", "in_float32"), [(False, 1), (True, 2)])
def test_the_careful_way_leaves_embeddings_and_products_of_the_first_feed_forward_layer(
    more: bool, in_float32: int, fused: tuple[Path, Batch], tmp_path: Path
) -> None:
    graph, batch = fused
    quantize(graph, tmp_path / "int8.onnx")
    smooth(graph, tmp_path / "even.onnx", [batch])
    quantize_carefully(tmp_path / "even.onnx", tmp_path / "careful.onnx", more=more)
    before, after = kinds(tmp_path / "int8.onnx"), kinds(tmp_path / "careful.onnx")
    assert before.count("QEmbedLayerNormalization") == after.count("EmbedLayerNormalization") == 1
    assert after.count("MatMulInteger") == before.count("MatMulInteger") - in_float32
    assert after.count("QAttention") == before.count("QAttention") == 1
    np.testing.assert_allclose(
        computed(tmp_path / "careful.onnx", batch), computed(graph, batch), atol=0.5
    )

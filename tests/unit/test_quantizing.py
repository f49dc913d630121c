"""8-bit integers, and how little they lose with a scale for each few numbers."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.bundles import make_bundle
from tests.graphs import Values, computed, kinds, random, write_graph
from tests.tiny import SENTENCES
from textmill.bundle import load_network, read_bundle
from textmill.encoding import pad_batch
from textmill.forms.exporting import export_graph, fuse
from textmill.forms.quantizing import quantize, quantize_in_blocks
from textmill.forms.smoothing import smooth
from textmill.scoring import Batch

# Not a multiple of the numbers in a block.
WIDTH = 72
LAYER = ("before", "behind")


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


def layer(states: str, output: str) -> list[onnx.NodeProto]:
    """The nodes of a feed-forward layer with its two matrices of weights."""
    inner, active = f"{output}_inner", f"{output}_active"
    return [
        helper.make_node("MatMul", [states, "before"], [inner], name=inner),
        helper.make_node("Gelu", [inner], [active], name=active, domain="com.microsoft"),
        helper.make_node("MatMul", [active, "behind"], [output], name=output),
    ]


def write_layer(path: Path, before: Values, behind: Values) -> Path:
    weights = dict(zip(LAYER, (before, behind), strict=True))
    return write_graph(path, layer("input", "output"), weights)


def lost(graph: Path, quantized: Path, values: Values) -> float:
    """The error to the size of what is computed."""
    expected = computed(graph, {"input": values})
    error = computed(quantized, {"input": values}) - expected
    return float(np.abs(error).mean() / np.abs(expected).mean())


@pytest.mark.parametrize(
    ("attention", "in_blocks", "attending"),
    [(False, 7, "QAttention"), (True, 8, "MultiHeadAttention")],
)
def test_all_but_the_last_feed_forward_layers_is_in_blocks_and_embeddings_are_in_float32(
    attention: bool, in_blocks: int, attending: str, fused: tuple[Path, Batch], tmp_path: Path
) -> None:
    graph, batch = fused
    smooth(graph, tmp_path / "even.onnx", [batch])
    quantize_in_blocks(tmp_path / "even.onnx", tmp_path / "blocks.onnx", attention=attention)
    found = kinds(tmp_path / "blocks.onnx")
    assert found.count("MatMulNBits") == in_blocks
    assert found.count("EmbedLayerNormalization") == 1
    assert found.count(attending) == 1
    assert "MatMulInteger" in found, "what loses little is quantized as a whole"
    np.testing.assert_allclose(
        computed(tmp_path / "blocks.onnx", batch), computed(graph, batch), atol=0.3
    )


def test_where_some_numbers_outgrow_others_blocks_lose_less(tmp_path: Path) -> None:
    values, sizes = random(64, WIDTH, seed=1), np.ones(WIDTH, np.float32)
    sizes[:32] = 100
    graph = write_layer(
        tmp_path / "layer.onnx",
        # All numbers count the same in the products.
        random(WIDTH, WIDTH, seed=2) / sizes[:, np.newaxis],
        random(WIDTH, WIDTH, seed=3),
    )
    quantize(graph, tmp_path / "whole.onnx")
    quantize_in_blocks(graph, tmp_path / "blocks.onnx")
    assert kinds(tmp_path / "blocks.onnx") == ["MatMulNBits", "Gelu", "MatMulNBits"]
    blocks = lost(graph, tmp_path / "blocks.onnx", values * sizes)
    assert blocks < 0.02
    assert blocks < lost(graph, tmp_path / "whole.onnx", values * sizes) / 10


@pytest.mark.parametrize("sign", [1, -1])
def test_sums_of_the_largest_numbers_do_not_overflow(sign: int, tmp_path: Path) -> None:
    largest = np.ones((WIDTH, WIDTH), np.float32)
    graph = write_layer(tmp_path / "layer.onnx", largest, sign * largest)
    quantize_in_blocks(graph, tmp_path / "blocks.onnx")
    assert lost(graph, tmp_path / "blocks.onnx", largest) < 0.001


def test_weights_that_layers_share_are_kept_once(tmp_path: Path) -> None:
    values = ["input", "one", "two", "output"]
    nodes = [node for states, output in pairwise(values) for node in layer(states, output)]
    weights = {name: random(WIDTH, WIDTH, seed=seed) for seed, name in enumerate(LAYER)}
    graph = write_graph(tmp_path / "layers.onnx", nodes, weights)
    quantize_in_blocks(graph, tmp_path / "blocks.onnx")
    kept = [values.name for values in onnx.load(tmp_path / "blocks.onnx").graph.initializer]
    assert sorted(name for name in kept if name.endswith("_blocks")) == [
        "before_blocks",
        "behind_blocks",
    ]
    assert not set(LAYER).intersection(kept), "nothing is left of them in float32"
    assert lost(graph, tmp_path / "blocks.onnx", random(64, WIDTH, seed=3)) < 0.1

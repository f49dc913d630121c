"""Even channels, and how much less 8-bit integers lose of them where a few had outgrown others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from tests.graphs import computed, kinds, random, write_graph
from textmill.forms.quantizing import quantize
from textmill.forms.smoothing import smooth
from textmill.scoring import Batch

WIDTH = 16
LARGE = 5

INPUT: Batch = {"input": random(64, WIDTH, seed=3)}  # type: ignore[dict-item]


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

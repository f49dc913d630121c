"""Small ONNX graphs, and what ONNX Runtime makes of graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from textmill.scoring import Batch

Values = npt.NDArray[np.float32]


def write_graph(path: Path, nodes: Sequence[onnx.NodeProto], weights: Mapping[str, Values]) -> Path:
    """Writes a graph from ``input`` to ``output``, both matrices."""
    entry, end = (
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, None])
        for name in ("input", "output")
    )
    constants = [numpy_helper.from_array(values, name) for name, values in weights.items()]
    graph = helper.make_graph(nodes, "graph", [entry], [end], constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def random(*shape: int, seed: int) -> Values:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def computed(graph: Path, inputs: Batch | Mapping[str, Values]) -> Values:
    """The only output of a graph."""
    (found,) = onnxruntime.InferenceSession(graph).run(None, dict(inputs))
    return np.asarray(found)


def kinds(graph: Path) -> list[str]:
    """The operators of a graph's nodes."""
    return [node.op_type for node in onnx.load(graph).graph.node]

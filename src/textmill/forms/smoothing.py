"""Makes the channels of a graph even, so that 8-bit integers lose less of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from textmill.forms.exporting import quiet_exporters
from textmill.forms.products import products
from textmill.scoring import Batch

_NORMALISATIONS = ("LayerNormalization", "SkipLayerNormalization", "EmbedLayerNormalization")

# How much of a channel's size goes over to the weights: 0 is none of it, 1 is all.
_STRENGTH = 0.7
_TINY = 1e-5

_Channels = npt.NDArray[np.float32]


def smooth(source: Path, path: Path, batches: Iterable[Batch]) -> None:
    """Makes the channels even that products of weights get from a normalisation.

    An activation is quantized by the largest of its values, so that a few large channels leave few
    of the 256 steps to all others. So each channel is divided by a number, by which its weights are
    multiplied (SmoothQuant, Xiao et al., 2023, equations 3 and 4). What the graph computes stays
    the same, up to rounding.

    Args:
        source: A graph in float32, fused.
        path: Where the other one is written.
        batches: Texts as the network meets them, to see how large each channel becomes.
    """
    import onnx
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = OnnxModel(onnx.load(source))
    normalised = _normalised_products(model)
    peaks = _peaks(source, list(normalised), batches) if normalised else {}
    for value, users in normalised.items():
        _make_even(model, value, users, peaks[value])
    with quiet_exporters():
        model.topological_sort()
        model.save_model_to_file(str(path))


def _normalised_products(model: Any) -> Mapping[str, Sequence[Any]]:  # noqa: ANN401
    """By each normalisation's output, its products with matrices that no other node uses."""
    normalised = {node.output[0] for node in model.nodes() if node.op_type in _NORMALISATIONS}
    uses = model.input_name_to_nodes()
    found: defaultdict[str, list[Any]] = defaultdict(list)
    for node in products(model):
        if node.input[0] in normalised and len(uses[node.input[1]]) == 1:
            found[node.input[0]].append(node)
    return found


def _peaks(source: Path, values: Sequence[str], batches: Iterable[Batch]) -> dict[str, _Channels]:
    """The largest absolute value of each channel of some of a graph's values."""
    import onnx
    from onnxruntime import InferenceSession

    model = onnx.load(source)
    inputs = [entry.name for entry in model.graph.input]
    for value in values:
        watched = onnx.helper.make_tensor_value_info(value, onnx.TensorProto.FLOAT, None)
        model.graph.output.append(watched)
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    peaks: dict[str, _Channels] = {}
    for batch in batches:
        found = session.run(list(values), {name: batch[name] for name in inputs})
        for value, activations in zip(values, found, strict=True):
            peak = np.abs(activations).max(axis=tuple(range(activations.ndim - 1)))
            peaks[value] = np.maximum(peaks.get(value, peak), peak)
    return peaks


def _make_even(
    model: Any,  # noqa: ANN401
    value: str,
    users: Sequence[Any],
    peak: _Channels,
) -> None:
    """Divides a value's channels before products, and multiplies the products' weights."""
    from onnx import helper, numpy_helper

    weights = [numpy_helper.to_array(model.get_initializer(node.input[1])) for node in users]
    largest = np.max([np.abs(each).max(axis=1) for each in weights], axis=0)
    scale = np.maximum(peak, _TINY) ** _STRENGTH / np.maximum(largest, _TINY) ** (1 - _STRENGTH)
    divisor, even = f"{value}_divisor", f"{value}_even"
    model.add_initializer(numpy_helper.from_array(np.float32(1) / scale, divisor))
    model.add_node(helper.make_node("Mul", [value, divisor], [even], name=f"{value}_make_even"))
    for node, each in zip(users, weights, strict=True):
        name = node.input[1]
        scaled = numpy_helper.from_array(each * scale[:, np.newaxis], name)
        model.get_initializer(name).CopyFrom(scaled)
        node.input[0] = even

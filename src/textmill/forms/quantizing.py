"""Makes a graph of 8-bit integers from one in float32."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from textmill.forms.exporting import quiet_exporters
from textmill.forms.products import PRODUCTS, products

if TYPE_CHECKING:
    from onnx import ModelProto

# How many numbers share a scale where they are quantized in blocks.
_BLOCK = 32
_LARGEST = 127
_TINY = 1e-5
# ONNX Runtime's number for products of 8-bit integers; else weights would be made floats again.
_INT8_PRODUCTS = 4

_Weights = npt.NDArray[np.float32]


def quantize(source: Path, path: Path) -> None:
    """Makes a graph of 8-bit integers, its activations quantized as they come.

    Weights take 7 of the 8 bits: on processors without VNNI, products of 8-bit numbers overflow
    the 16 bits in which they are added up, and a graph must mean the same on all of them.

    Args:
        source: A graph in float32, fused.
        path: Where the quantized graph is written.
    """
    _quantize(source, path)


def quantize_in_blocks(source: Path, path: Path, *, attention: bool = False) -> None:
    """Makes a graph of 8-bit integers that loses less, and is slower.

    Each 32 numbers of weights and of activations have a scale of their own. Such products use all 8
    bits, and don't overflow. For long rows of texts they are slower than those of whole matrices,
    which the feed-forward layers of the second half keep: their errors pass through the fewest
    others. The embeddings, which gain size and no speed, stay in float32.

    Args:
        source: A graph in float32, fused, its channels made even by `smooth`.
        path: Where the quantized graph is written.
        attention: Whether the products for queries, keys and values of the first half have such
            scales, too. That takes them out of the nodes that attend.
    """
    import onnx
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = OnnxModel(onnx.load(source))
    late = _late_feed_forward(model)
    if attention:
        _separate_attention(model)
    for node in products(model, ["MatMul"]):
        if node.name not in late:
            _put_in_blocks(model, node)
    model.prune_graph()
    with quiet_exporters():
        model.topological_sort()
    _quantize(model.model, path, op_types_to_quantize=list(PRODUCTS))


def _quantize(source: Path | ModelProto, path: Path, **choice: Any) -> None:  # noqa: ANN401
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet_exporters():
        quantize_dynamic(
            source,
            path,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            # What fused nodes give has no type that could be inferred.
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
            **choice,
        )


def _late_feed_forward(model: Any) -> set[str]:  # noqa: ANN401
    """The names of the products before and behind the second half of activation functions."""
    makers, users = model.output_name_to_node(), model.input_name_to_nodes()
    activations = [node for node in model.nodes() if "Gelu" in node.op_type]
    late = activations[_half(activations) :]
    before = [makers[node.input[0]].name for node in late if node.input[0] in makers]
    return {*before, *(user.name for node in late for user in users.get(node.output[0], []))}


def _half(layers: Sequence[object]) -> int:
    return -(-len(layers) // 2)


def _separate_attention(model: Any) -> None:  # noqa: ANN401
    """Takes the products for queries, keys and values out of the first half of attention."""
    from onnx import helper

    nodes = model.get_nodes_by_op_type("Attention")
    for node in nodes[: _half(nodes)]:
        attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        past_or_bias = any(node.input[4:])
        if past_or_bias or "qkv_hidden_sizes" in attributes:
            continue
        states, weights, bias, *mask = node.input
        names = [f"{node.name}_{part}" for part in ("product", "queries", "keys", "values")]
        product, *parts = names
        model.add_nodes(
            [
                helper.make_node("MatMul", [states, weights], [product], name=product),
                helper.make_node("Split", [product], parts, name=f"{node.name}_split", axis=2),
                helper.make_node(
                    "MultiHeadAttention",
                    [*parts, bias, *mask],
                    node.output,
                    name=f"{node.name}_attend",
                    domain=node.domain,
                    **attributes,
                ),
            ]
        )
        model.remove_node(node)


def _put_in_blocks(model: Any, node: Any) -> None:  # noqa: ANN401
    """Puts the operator for weights in blocks in the place of a product."""
    from onnx import helper, numpy_helper

    states, name = node.input
    weights = numpy_helper.to_array(model.get_initializer(name))
    blocks, scales = f"{name}_blocks", f"{name}_scales"
    if model.get_initializer(blocks) is None:
        integers, sizes = _in_blocks(weights)
        model.add_initializer(numpy_helper.from_array(integers, blocks))
        model.add_initializer(numpy_helper.from_array(sizes, scales))
    inputs, outputs = weights.shape
    model.add_node(
        helper.make_node(
            "MatMulNBits",
            [states, blocks, scales],
            node.output,
            name=node.name,
            domain="com.microsoft",
            K=inputs,
            N=outputs,
            bits=8,
            block_size=_BLOCK,
            accuracy_level=_INT8_PRODUCTS,
        )
    )
    model.remove_node(node)


def _in_blocks(weights: _Weights) -> tuple[npt.NDArray[np.uint8], _Weights]:
    """Weights as ONNX Runtime's MatMulNBits wants them.

    Args:
        weights: ``[inputs, outputs]``.

    Returns:
        ``[outputs, blocks, 32]``, where 128 stands for zero, and scales, ``[outputs, blocks]``.
    """
    inputs, outputs = weights.shape
    filled = np.pad(weights, ((0, -inputs % _BLOCK), (0, 0)))
    blocks = filled.T.reshape(outputs, -1, _BLOCK)
    scales = np.maximum(np.abs(blocks).max(axis=2), _TINY) / np.float32(_LARGEST)
    integers = np.rint(blocks / scales[..., np.newaxis]) + (_LARGEST + 1)
    return integers.astype(np.uint8), scales

"""The products of a graph with matrices of weights, where its time goes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

PRODUCTS = ("MatMul", "Attention")


def products(model: Any, kinds: Collection[str] = PRODUCTS) -> list[Any]:  # noqa: ANN401
    """The nodes of some kinds, in order, whose second input is a matrix of weights.

    Args:
        model: The graph, as ONNX Runtime's ``OnnxModel``.
        kinds: The operators.
    """

    def takes_matrix(node: Any) -> bool:  # noqa: ANN401
        weights = model.get_initializer(node.input[1])
        return weights is not None and len(weights.dims) == 2

    return [node for node in model.nodes() if node.op_type in kinds and takes_matrix(node)]

"""The graph of a network: the same logits, and no more nodes than it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from tests.graphs import computed, kinds
from tests.tiny import random_classifier
from textmill.encoding import Padding, pad_batch
from textmill.first_token import READ_FIRST_TOKEN, compute_first_token_only
from textmill.forms.exporting import export_graph, fuse

IDS = [[5, 6, 7, 8, 9, 10, 11], [12, 13, 14], [15]]


def assert_same_logits(network: PreTrainedModel, folder: Path) -> None:
    """Writes the graphs, and compares the logits of padded texts."""
    network.eval()
    compute_first_token_only(network)
    padding = Padding(token_id=1)
    batch = pad_batch(IDS, None, padding)
    with torch.no_grad():
        inputs = {name: torch.from_numpy(values) for name, values in batch.items()}
        expected = network(**inputs).logits.numpy()
    export_graph(network, padding, folder / "plain.onnx")
    fuse(folder / "plain.onnx", folder / "fused.onnx", network)
    for name in ("plain.onnx", "fused.onnx"):
        np.testing.assert_allclose(computed(folder / name, batch), expected, atol=1e-5)


@pytest.mark.parametrize("model_type", sorted(READ_FIRST_TOKEN))
def test_padded_texts_have_the_network_s_logits_and_the_mask_takes_few_nodes(
    model_type: str, tmp_path: Path
) -> None:
    assert_same_logits(random_classifier(model_type), tmp_path)
    found = kinds(tmp_path / "fused.onnx")
    assert "Attention" in found
    assert "And" not in found, "as transformers' own function for masks leaves them"


def test_a_decoder_s_tokens_attend_to_none_behind_them(tmp_path: Path) -> None:
    assert_same_logits(random_classifier("bert", is_decoder=True), tmp_path)

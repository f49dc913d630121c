"""The graph of a network: the same logits, and no more nodes than it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from tests.graphs import computed, kinds
from textmill.encoding import Padding, pad_batch
from textmill.first_token import READ_FIRST_TOKEN, compute_first_token_only
from textmill.forms.exporting import export_graph, fuse

IDS = [[5, 6, 7, 8, 9, 10, 11], [12, 13, 14], [15]]


@pytest.mark.parametrize("model_type", sorted(READ_FIRST_TOKEN))
def test_padded_texts_have_the_network_s_logits_and_the_mask_takes_few_nodes(
    model_type: str, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    config = AutoConfig.for_model(
        model_type,
        vocab_size=40,
        hidden_size=16,
        embedding_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        pad_token_id=1,
    )
    network = AutoModelForSequenceClassification.from_config(config).eval()
    compute_first_token_only(network)
    padding = Padding(token_id=1)
    batch = pad_batch(IDS, None, padding)
    with torch.no_grad():
        inputs = {name: torch.from_numpy(values) for name, values in batch.items()}
        expected = network(**inputs).logits.numpy()
    export_graph(network, padding, tmp_path / "plain.onnx")
    fuse(tmp_path / "plain.onnx", tmp_path / "fused.onnx", network)
    for name in ("plain.onnx", "fused.onnx"):
        np.testing.assert_allclose(computed(tmp_path / name, batch), expected, atol=1e-5)
    found = kinds(tmp_path / "fused.onnx")
    assert "Attention" in found
    assert "And" not in found, "as transformers' own function for masks leaves them"

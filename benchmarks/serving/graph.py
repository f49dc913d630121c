"""A bundle's ONNX graph as one would use it without Textmill; needs ONNX Runtime and tokenizers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

FILES = {"onnx": "model.onnx", "int8": "model.int8.onnx"}


class Graph:
    """Labels texts.

    Args:
        bundle: The bundle's folder.
        form: ``onnx`` or ``int8``.
        fixed_length: Whether every text is padded to the longest there may be, rather than to the
            longest of its batch.
    """

    def __init__(self, bundle: Path, form: str, *, fixed_length: bool) -> None:
        most = json.loads((bundle / "textmill.json").read_bytes())["max_length"]
        names = json.loads((bundle / "config.json").read_bytes())["id2label"]
        self._labels = [names[str(index)] for index in range(len(names))]
        self._tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))
        self._tokenizer.enable_truncation(most)
        self._tokenizer.enable_padding(length=most if fixed_length else None)
        self._session = onnxruntime.InferenceSession(bundle / "onnx" / FILES[form])
        self._inputs = [entry.name for entry in self._session.get_inputs()]

    def predictions(self, texts: list[str]) -> list[dict[str, object]]:
        """The label of each text, with its probability."""
        encoded = self._tokenizer.encode_batch(texts)
        batch = {
            "input_ids": np.array([one.ids for one in encoded]),
            "attention_mask": np.array([one.attention_mask for one in encoded]),
            "token_type_ids": np.array([one.type_ids for one in encoded]),
        }
        (logits,) = self._session.run(None, {name: batch[name] for name in self._inputs})
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores = exponents / exponents.sum(axis=1, keepdims=True)
        best = scores.argmax(axis=1)
        return [
            {"label": self._labels[index], "score": float(row[index])}
            for index, row in zip(best, scores, strict=True)
        ]

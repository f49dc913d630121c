"""A bundle's graph as one would use it without Textmill; needs what computes it, and tokenizers."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

FILES = {"onnx": "model.onnx", "int8": "model.int8.onnx", "bf16": "model.onnx"}

Logits = npt.NDArray[np.float32]
Compute = Callable[[Mapping[str, npt.NDArray[np.int64]]], Logits]


class Graph:
    """Labels texts.

    Args:
        bundle: The bundle's folder.
        form: ``onnx``, ``int8`` or ``bf16``.
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
        load = _with_openvino if form == "bf16" else _with_onnxruntime
        self._logits = load(bundle / "onnx" / FILES[form])

    def predictions(self, texts: list[str]) -> list[dict[str, object]]:
        """The label of each text, with its probability."""
        encoded = self._tokenizer.encode_batch(texts)
        batch = {
            "input_ids": np.array([one.ids for one in encoded]),
            "attention_mask": np.array([one.attention_mask for one in encoded]),
            "token_type_ids": np.array([one.type_ids for one in encoded]),
        }
        logits = self._logits(batch)
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores = exponents / exponents.sum(axis=1, keepdims=True)
        best = scores.argmax(axis=1)
        return [
            {"label": self._labels[index], "score": float(row[index])}
            for index, row in zip(best, scores, strict=True)
        ]


def _with_onnxruntime(path: Path) -> Compute:
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    inputs = [entry.name for entry in session.get_inputs()]

    def logits(batch: Mapping[str, npt.NDArray[np.int64]]) -> Logits:
        (found,) = session.run(None, {name: batch[name] for name in inputs})
        return np.asarray(found, dtype=np.float32)

    return logits


def _with_openvino(path: Path) -> Compute:
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # or it reports
    import openvino

    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})
    inputs = [entry.get_any_name() for entry in compiled.inputs]

    def logits(batch: Mapping[str, npt.NDArray[np.int64]]) -> Logits:
        return np.asarray(compiled({name: batch[name] for name in inputs})[0], dtype=np.float32)

    return logits

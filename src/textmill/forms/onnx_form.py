"""A graph that ONNX Runtime computes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from textmill.forms.graph_file import check_usable, explained, threads
from textmill.scoring import Batch, Scores

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# ONNX Runtime's number for errors; it warns of things that nobody can change.
_ERRORS_ONLY = 3


class OnnxModel:
    """A graph whose inputs are what `pad_batch` gives, by name, and whose output is the logits.

    Args:
        path: The graph's file.
        outputs: The number of its outputs, one for each label.

    Raises:
        InputError: ONNX Runtime isn't installed, or can't use the file.
    """

    device = "cpu"
    # The caches of a processor hold the activations of about so many tokens.
    tokens_at_once = 1024
    # A call takes as long as 20 to 40 of them, in float32 and in 8 bits.
    tokens_a_call = 32

    def __init__(self, path: Path, outputs: int) -> None:
        self._session = _session(path)
        self._inputs = [entry.name for entry in self._session.get_inputs()]
        self.outputs = outputs

    def logits(self, batch: Batch) -> Scores:
        """The raw outputs, ``[texts, outputs]``, of what `pad_batch` gives."""
        (logits,) = self._session.run(None, {name: batch[name] for name in self._inputs})
        return np.asarray(logits, dtype=np.float32)


def _session(path: Path) -> InferenceSession:
    check_usable(path, "onnxruntime", extra="onnx")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = threads()
    with explained("ONNX Runtime", path):
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

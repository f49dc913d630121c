"""A graph that ONNX Runtime computes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from textmill.forms.graph_file import check_usable, explained, threads
from textmill.scoring import Batch, Scores

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# The caches of a processor hold the activations of about so many tokens.
TOKENS_AT_ONCE = 1024
# A call takes as long as 20 to 40 of them, in float32 and in 8 bits.
TOKENS_A_CALL = 32

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

    def __init__(self, path: Path, outputs: int) -> None:
        self._session = _session(path)
        self._inputs = [entry.name for entry in self._session.get_inputs()]
        self._outputs = outputs

    @property
    def device(self) -> str:
        """Where it computes."""
        return "cpu"

    @property
    def outputs(self) -> int:
        """The number of its outputs."""
        return self._outputs

    @property
    def tokens_at_once(self) -> int:
        """The tokens of a batch, padding included, up to which it gets faster."""
        return TOKENS_AT_ONCE

    @property
    def tokens_a_call(self) -> int:
        """The tokens that take as long as a call by itself."""
        return TOKENS_A_CALL

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

"""A form that needs neither torch nor transformers: a graph that ONNX Runtime computes."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from textmill.encoding import LengthPolicy, Padding, PlainTokenizer
from textmill.errors import InputError
from textmill.scoring import Batch, Scorer, Scores

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# The caches of a processor hold the activations of about so many tokens.
TOKENS_AT_ONCE = 1024

# ONNX Runtime's number for errors; it warns of things that nobody can change.
_ERRORS_ONLY = 3
_ANEW = "make it anew: textmill export BUNDLE"


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

    def logits(self, batch: Batch) -> Scores:
        """The raw outputs, ``[texts, outputs]``, of what `pad_batch` gives."""
        (logits,) = self._session.run(None, {name: batch[name] for name in self._inputs})
        return np.asarray(logits, dtype=np.float32)


def onnx_scorer(
    path: Path,
    outputs: int,
    tokenizer: PlainTokenizer,
    padding: Padding,
    policy: LengthPolicy,
    *,
    multi_label: bool,
) -> Scorer:
    """Scores with a graph and the tokenizers library alone.

    Args:
        path: The graph's file; see `OnnxModel`.
        outputs: The number of its outputs.
        tokenizer: The model's tokenizer.
        padding: How the model's batches are padded.
        policy: What happens to long texts.
        multi_label: Whether each label is scored by itself.

    Raises:
        InputError: ONNX Runtime isn't installed, or can't use the file.
    """
    return Scorer(OnnxModel(path, outputs), tokenizer, padding, policy, multi_label=multi_label)


def has_onnxruntime() -> bool:
    """Whether ONNX Runtime is installed; imports nothing."""
    return find_spec("onnxruntime") is not None


def threads() -> int:
    """The threads that a model may use: as ``OMP_NUM_THREADS`` says, or one on each core."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _session(path: Path) -> InferenceSession:
    if not has_onnxruntime():
        raise InputError(
            "onnxruntime is not installed",
            where=str(path),
            hint="pip install 'textmill[onnx]', or choose --form torch",
        )
    if not path.is_file():
        raise InputError("the file is missing", where=str(path), hint=_ANEW)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = threads()
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own classes have no base of their own
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"ONNX Runtime can't use the file ({reason:.200})",
            where=str(path),
            hint=_ANEW,
        ) from error

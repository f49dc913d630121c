"""A graph that OpenVINO computes in bfloat16, where the processor has a unit for it."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from textmill.forms.graph_file import check_usable, explained, threads
from textmill.scoring import Batch, Scores

if TYPE_CHECKING:
    from openvino import CompiledModel, InferRequest

# OpenVINO keeps a megabyte for each shape of a batch that it has met, so that shapes are to be few:
# widths and numbers of texts are rounded up to a multiple of this.
STEP = 8


class OpenVinoModel:
    """A graph whose inputs are what `pad_batch` gives, by name, and whose output is the logits.

    A processor without bfloat16 computes it in float32.

    Args:
        path: The graph's file.
        outputs: The number of its outputs, one for each label.

    Raises:
        InputError: OpenVINO isn't installed, or can't use the file.
    """

    device = "cpu"
    # The caches of a processor hold the activations of about so many tokens.
    tokens_at_once = 1024
    # OpenVINO prepares itself for each shape of a batch that isn't that of the one before, which
    # takes as long as some hundred tokens.
    tokens_a_call = 256

    def __init__(self, path: Path, outputs: int) -> None:
        self._compiled = _compiled(path)
        self._inputs = [entry.get_any_name() for entry in self._compiled.inputs]
        self.outputs = outputs
        self._of_thread = threading.local()

    def logits(self, batch: Batch) -> Scores:
        """The raw outputs, ``[texts, outputs]``, of what `pad_batch` gives."""
        texts = len(batch["input_ids"])
        more = _rounded_up(texts) - texts
        inputs = {name: _repeat_last(batch[name], more) for name in self._inputs}
        return np.asarray(self._request().infer(inputs)[0][:texts], dtype=np.float32)

    def _request(self) -> InferRequest:
        """This thread's own; threads may not share one."""
        request: InferRequest | None = getattr(self._of_thread, "request", None)
        if request is None:
            request = self._of_thread.request = self._compiled.create_infer_request()
        return request


def _rounded_up(texts: int) -> int:
    """A number of texts that isn't less: up to `STEP`, a power of two, then a multiple of it."""
    return -(-texts // STEP) * STEP if texts > STEP else 1 << (texts - 1).bit_length()


def _repeat_last(ids: npt.NDArray[np.int64], times: int) -> npt.NDArray[np.int64]:
    return np.concatenate([ids, np.repeat(ids[-1:], times, axis=0)]) if times else ids


def _compiled(path: Path) -> CompiledModel:
    check_usable(path, "openvino", extra="openvino")
    # It would report its import to its makers; where this package is missing, it doesn't.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino
    from openvino import properties
    from openvino.properties import hint

    settings = {
        hint.inference_precision: openvino.Type.bf16,
        hint.performance_mode: hint.PerformanceMode.LATENCY,
        # Pinned, the threads of several workers would share cores that others leave idle.
        hint.enable_cpu_pinning: False,
        properties.inference_num_threads: threads(),
    }
    with explained("OpenVINO", path):
        core = openvino.Core()
        return core.compile_model(core.read_model(path), "CPU", settings)

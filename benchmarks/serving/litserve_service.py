"""LitServe with a bundle's ONNX graph, batching: ``BUNDLE FORM PORT``."""

from __future__ import annotations

import sys
from pathlib import Path

import litserve

from benchmarks.serving.graph import Graph

MAX_BATCH_SIZE = 32
BATCH_SECONDS = 0.002


class Classifier(litserve.LitAPI):  # type: ignore[misc]
    """The classifier, in LitServe's worker.

    Args:
        bundle: The bundle's folder.
        form: ``onnx``, ``int8`` or ``bf16``.
    """

    def __init__(self, bundle: Path, form: str) -> None:
        super().__init__(max_batch_size=MAX_BATCH_SIZE, batch_timeout=BATCH_SECONDS)
        self._bundle, self._form = bundle, form

    def setup(self, device: str) -> None:  # noqa: ARG002 - the graph computes on the processor
        """Loads the graph."""
        self._graph = Graph(self._bundle, self._form, fixed_length=False)

    def decode_request(self, request: dict[str, list[str]]) -> str:
        """The one text of a request."""
        return request["texts"][0]

    def predict(self, texts: list[str]) -> list[dict[str, object]]:
        """Labels a batch."""
        return self._graph.predictions(texts)

    def encode_response(self, prediction: dict[str, object]) -> dict[str, object]:
        """The answer to one request."""
        return {"predictions": [prediction]}


def main() -> None:
    """Serves until it is ended."""
    bundle, form, port = sys.argv[1:]
    server = litserve.LitServer(
        Classifier(Path(bundle), form), accelerator="cpu", workers_per_device=1, fast_queue=True
    )
    server.run(host="127.0.0.1", port=int(port), generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()

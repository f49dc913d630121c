"""The series' design: FastAPI, a float32 call a request, padded to one length: ``BUNDLE PORT``."""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks.serving.graph import Graph


class Asked(BaseModel):
    """The body of a request."""

    texts: list[str]


def application(bundle: Path) -> FastAPI:
    """The application of a bundle."""
    graph = Graph(bundle, "onnx", fixed_length=True)
    application = FastAPI()

    @application.post("/predict")
    async def predict(asked: Asked) -> dict[str, object]:
        return {"predictions": graph.predictions(asked.texts[:1])}

    return application


def main() -> None:
    """Serves until it is ended."""
    bundle, port = sys.argv[1:]
    uvicorn.run(application(Path(bundle)), port=int(port), log_level="warning")


if __name__ == "__main__":
    main()

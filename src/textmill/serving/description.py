"""The OpenAPI description, with the bundle's own limits and examples."""

from __future__ import annotations

import copy
from typing import Any

from pydantic import BaseModel

from textmill.serving.answers import told
from textmill.serving.served import Served, Text

_JSON = "application/json"


def describe(general: dict[str, Any], served: Served) -> dict[str, Any]:
    """Completes the description of the routes by what depends on the bundle.

    Args:
        general: The description without it.
        served: The bundle.
    """
    described = copy.deepcopy(general)
    text, answer = _example(served)
    asked = {"texts": [text], "top_k": 2}
    answered = {"predictions": [answer]}
    _complete(described, "/predict", served.predict_request, asked)
    responses = described["paths"]["/predict"]["post"]["responses"]
    responses["200"]["content"][_JSON]["example"] = answered
    _complete(described, "/explain", served.explain_request, {"text": text})
    return described


def _complete(
    described: dict[str, Any], path: str, model: type[BaseModel], example: dict[str, object]
) -> None:
    described["paths"][path]["post"]["requestBody"] = {
        "required": True,
        "content": {_JSON: {"schema": model.model_json_schema(), "example": example}},
    }


def _example(served: Served) -> tuple[Text, dict[str, object]]:
    text, prediction = served.examples[0]
    return text, told(prediction, 2)

"""What is asked and answered, as JSON: its fields, their limits, and the problems of a body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from fastapi import HTTPException
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from textmill.serving.limits import MOST_PROBLEMS, Limits

Asked = TypeVar("Asked", bound=BaseModel)


class PredictRequest(BaseModel):
    """Texts to label."""

    model_config = ConfigDict(extra="forbid", strict=True)

    texts: list[Any]
    top_k: int = Field(
        1,
        ge=1,
        description="How many labels to tell with their scores; the one that is predicted is "
        "told in any case, and with 1 nothing else.",
    )


class ExplainRequest(BaseModel):
    """A text to explain."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: Any
    label: str | None = Field(None, description="The label to explain; the predicted one if null.")


class PredictionAnswer(BaseModel):
    """What the classifier says of one text."""

    label: str | list[str] = Field(
        description="The label; a list of any number where a text may have several."
    )
    score: float = Field(
        description="Its probability; of the most probable label where there may be several."
    )
    scores: dict[str, float] | None = Field(
        None, description="From the `top_k` most probable labels to their probabilities."
    )


class PredictAnswer(BaseModel):
    """A prediction for each text, in the order of the texts."""

    predictions: list[PredictionAnswer]


class WordAnswer(BaseModel):
    """A word, with what it adds to the log-odds of the label."""

    text: str
    start: int
    end: int
    contribution: float
    side: int = Field(0, description="1 in the second text of a pair.")


class ExplainAnswer(BaseModel):
    """What each word of a text adds to the score of a label."""

    label: str
    method: Literal["integrated_gradients", "occlusion"] = Field(
        description="Integrated gradients add up to the difference of the log-odds; occlusion "
        "tells what the score loses when a word is hidden, and need not."
    )
    score: float
    baseline_score: float = Field(description="The probability with every word hidden.")
    log_odds: float
    baseline_log_odds: float
    total: float = Field(description="What the words add, all together.")
    gap: float = Field(description="What is missing from that to the difference of the log-odds.")
    steps: int = Field(description="Points of the integral, or words that were hidden.")
    cut: bool = Field(description="Whether the text is longer than what the model sees.")
    words: list[WordAnswer]


class ExampleAnswer(PredictionAnswer):
    """A text that came with the bundle, and its prediction."""

    text: str | list[str]


class InfoAnswer(BaseModel):
    """What is served."""

    labels: list[str]
    multi_label: bool
    thresholds: list[float] | None
    text_columns: list[str] = Field(description="One, or two where pairs of texts are classified.")
    max_length: int = Field(description="The most tokens of a text that the model sees.")
    overflow: str = Field(description="What stays of a longer text.")
    bundle: str = Field(description="A SHA-256 over all files that decide what is predicted.")
    fingerprints: dict[str, str] = Field(description="Of what made the bundle.")
    loaded: str = Field(description="Since when it is served.")
    device: str
    form: str = Field(description="Of the model: `torch`, `onnx`, `int8` or `bf16`.")
    versions: dict[str, str]
    limits: dict[str, float]
    examples: list[ExampleAnswer]


class StateAnswer(BaseModel):
    """How the service is."""

    status: Literal["ok", "loading", "stopping"]


class ProblemAnswer(BaseModel):
    """Why there is no answer."""

    detail: str


class FieldProblem(BaseModel):
    """A problem with a field of the body."""

    loc: list[str | int] = Field(description="The path of the field.")
    msg: str
    type: str


class FieldProblems(BaseModel):
    """Why the body is no question."""

    detail: list[FieldProblem]


def predict_request(pairs: bool, limits: Limits) -> type[PredictRequest]:
    """The model of a body of ``/predict``.

    Args:
        pairs: Whether texts are classified in pairs.
        limits: How many texts there may be, and how long.
    """
    kind = _text(limits, pairs=pairs)
    texts = Field(max_length=limits.texts, description="The texts, or pairs of texts, to label.")
    return create_model(
        "PredictRequest",
        __base__=PredictRequest,
        texts=(list[kind], texts),  # type: ignore[valid-type]
    )


def explain_request(pairs: bool, limits: Limits) -> type[ExplainRequest]:
    """The model of a body of ``/explain``; see `predict_request`."""
    field = Field(description="The text, or the pair of texts, to explain.")
    return create_model(
        "ExplainRequest", __base__=ExplainRequest, text=(_text(limits, pairs=pairs), field)
    )


def parsed(model: type[Asked], body: bytes) -> Asked:
    """A body as the model has it.

    Raises:
        HTTPException: It isn't one (422); told are the path of each field and what is expected
            there, never anything of the body.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise unprocessable([_problem(one, model) for one in found[:MOST_PROBLEMS]]) from error


def unprocessable(problems: Sequence[FieldProblem]) -> HTTPException:
    """The answer to a body with problems."""
    return HTTPException(422, [problem.model_dump() for problem in problems])


def _text(limits: Limits, *, pairs: bool) -> Any:  # noqa: ANN401 - a type
    text = Annotated[str, Field(max_length=limits.characters)]
    return tuple[text, text] if pairs else text


def _problem(error: Mapping[str, Any], model: type[BaseModel]) -> FieldProblem:
    place, message = list(error["loc"]), error["msg"]
    if error["type"] == "extra_forbidden":
        # The name of an unknown field is the client's own, and as long as it likes.
        place, message = place[:-1], f"Unknown field; known are {', '.join(model.model_fields)}"
    return FieldProblem(loc=["body", *place], msg=message, type=error["type"])

"""The service's routes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import asdict, dataclass
from typing import Annotated, Any, TypeVar, cast

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic_core import to_json

from textmill.errors import InputError
from textmill.serving.answers import told
from textmill.serving.batching import QueueFullError, TooLateError
from textmill.serving.description import describe
from textmill.serving.keys import ApiKeys
from textmill.serving.limits import ClientGoneError, read_body
from textmill.serving.metrics import CONTENT_TYPE
from textmill.serving.observing import CLIENT_GONE, Application, Observed
from textmill.serving.page import service_page
from textmill.serving.schemas import (
    ExplainAnswer,
    ExplainRequest,
    FieldProblem,
    FieldProblems,
    InfoAnswer,
    PredictAnswer,
    ProblemAnswer,
    StateAnswer,
    parsed,
    unprocessable,
)
from textmill.serving.served import Served
from textmill.serving.service import Service
from textmill.version import __version__

Result = TypeVar("Result")

BUNDLE_HEADER = "X-Textmill-Bundle"

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"model": ProblemAnswer, "description": "The API key is missing or wrong"},
    408: {"model": ProblemAnswer, "description": "The body came too slowly"},
    413: {"model": ProblemAnswer, "description": "The body is too large"},
    415: {"model": ProblemAnswer, "description": "The body is not said to be JSON"},
    422: {"model": FieldProblems, "description": "The body is not as it must be"},
    500: {"model": ProblemAnswer, "description": "An error that the service's log has more of"},
    503: {
        "model": ProblemAnswer,
        "description": "Too much to do, not loaded yet, or not done in time: "
        "try again after the seconds of `Retry-After`",
    },
}
_PAGE_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_bearer = HTTPBearer(auto_error=False, description="An API key, where the service asks for one.")


@dataclass(frozen=True, slots=True)
class Rules:
    """How requests are treated, beside the limits.

    Args:
        keys: The keys that open the service.
        log_requests: Whether each request is logged.
        log_texts: Whether the log has the texts, too.
    """

    keys: ApiKeys
    log_requests: bool = True
    log_texts: bool = False


def build_application(service: Service, rules: Rules) -> Application:
    """The application that answers for a service."""
    application = FastAPI(
        title="Textmill",
        version=__version__,
        # Its own pages load scripts from other hosts.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    application.state.service, application.state.rules = service, rules
    application.add_exception_handler(ClientGoneError, _tell_nobody)
    application.add_exception_handler(Exception, _tell_of_error)
    application.include_router(_open)
    application.include_router(_guarded)
    return Observed(cast("Application", application), service, log_requests=rules.log_requests)


async def _check_key(
    request: Request, presented: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> None:
    if not _rules(request).keys.allow(presented.credentials if presented else None):
        raise HTTPException(
            401, "give an API key: Authorization: Bearer KEY", {"WWW-Authenticate": "Bearer"}
        )


_open = APIRouter()
_guarded = APIRouter(dependencies=[Depends(_check_key)], responses={401: _PROBLEMS[401]})


@_open.get("/", include_in_schema=False)
async def page() -> Response:
    """The page to try the classifier on."""
    return HTMLResponse(service_page(), headers=_PAGE_HEADERS)


@_open.get("/healthz", response_model=StateAnswer)
async def healthz() -> Response:
    """Whether the process answers."""
    return JSONResponse({"status": "ok"})


@_open.get("/readyz", response_model=StateAnswer, responses={503: {"model": StateAnswer}})
async def readyz(request: Request) -> Response:
    """Whether texts would be labelled: the bundle is loaded and warm, and no end is near."""
    service = _service(request)
    status = "stopping" if service.stopping else "ok" if service.served else "loading"
    return JSONResponse({"status": status}, 200 if status == "ok" else 503)


@_guarded.get("/info", response_model=InfoAnswer, responses={503: _PROBLEMS[503]})
async def info(request: Request) -> Response:
    """What is served: labels, versions, fingerprints, limits."""
    service = _service(request)
    served = _served(request)
    return _answer(served, _info(served, service))


@_guarded.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """The metrics of all workers, for Prometheus."""
    page = await run_in_threadpool(_service(request).metrics.page)
    return Response(page, media_type=CONTENT_TYPE)


@_guarded.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> Response:
    """This description."""
    served = _served(request)
    return _answer(served, describe(request.app.openapi(), served))


@_guarded.post("/predict", response_model=PredictAnswer, responses=_PROBLEMS)
async def predict(request: Request) -> Response:
    """Labels texts, in their order."""
    served = _served(request)
    asked = parsed(served.predict_request, await _json_body(request))
    _tell(request, texts=len(asked.texts))
    if _rules(request).log_texts:
        _tell(request, asked=asked.texts)
    predictions = await _unless_gone(request, _service(request).predict(served, asked.texts))
    return _answer(served, {"predictions": [told(one, asked.top_k) for one in predictions]})


@_guarded.post("/explain", response_model=ExplainAnswer, responses=_PROBLEMS)
async def explain(request: Request) -> Response:
    """Tells what each word of a text adds to the score of a label."""
    served = _served(request)
    asked = parsed(served.explain_request, await _json_body(request))
    _check_explained(asked, served)
    if _rules(request).log_texts:
        _tell(request, asked=[asked.text])
    work = _service(request).explain(served, asked.text, asked.label)
    try:
        attribution = await _unless_gone(request, work)
    except InputError as error:
        _tell(request, reason=str(error))
        raise _not_explained("", "This classifier's decisions can't be explained") from error
    entry = attribution.as_record()
    return _answer(served, {name: entry[name] for name in ExplainAnswer.model_fields})


def _service(request: Request) -> Service:
    return cast("Service", request.app.state.service)


def _rules(request: Request) -> Rules:
    return cast("Rules", request.app.state.rules)


def _served(request: Request) -> Served:
    """The bundle that answers this request, to its end."""
    served = _service(request).served
    if served is None:
        raise _later("the bundle is being loaded", 1)
    return served


async def _json_body(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "send JSON, with the header Content-Type: application/json")
    return await read_body(request.receive, _service(request).limits)


async def _unless_gone(request: Request, work: Awaitable[Result]) -> Result:
    """The result of some work, which ends when the client does; its refusals as answers."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGoneError
        return working.result()
    except QueueFullError as error:
        raise _later("too much to do", error.retry_after) from error
    except TooLateError as error:
        raise _later("it could not be done in time", 1) from error
    finally:
        working.cancel()
        gone.cancel()


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _tell_nobody(_request: Request, _error: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)


async def _tell_of_error(_request: Request, _error: Exception) -> Response:
    """Answers the one request that it struck; it is logged where the request is."""
    detail = "an error that nobody has foreseen; the service's log has it at X-Request-ID"
    return JSONResponse({"detail": detail}, 500)


def _later(reason: str, seconds: int) -> HTTPException:
    return HTTPException(503, reason, {"Retry-After": str(seconds)})


def _tell(request: Request, **fields: object) -> None:
    """Adds fields to the request's line in the log."""
    told: dict[str, object] = request.scope["state"].setdefault("told", {})
    told.update(fields)


def _answer(served: Served, content: object) -> Response:
    body = to_json(content)
    headers = {BUNDLE_HEADER: served.fingerprint[:12]}
    return Response(body, media_type="application/json", headers=headers)


def _check_explained(asked: ExplainRequest, served: Served) -> None:
    if not "".join(asked.text).strip():
        raise _not_explained("text", "There is nothing to explain in an empty text")
    if asked.label is not None and asked.label not in served.predictor.labels.names:
        raise _not_explained("label", "The classifier has no such label")


def _not_explained(field: str, reason: str) -> HTTPException:
    place: list[str | int] = ["body", field] if field else ["body"]
    return unprocessable([FieldProblem(loc=place, msg=reason, type="value_error")])


def _info(served: Served, service: Service) -> dict[str, object]:
    bundle, predictor = served.predictor.bundle, served.predictor
    return {
        "labels": predictor.labels.names,
        "multi_label": predictor.labels.multi_label,
        "thresholds": bundle.info.thresholds,
        "text_columns": predictor.text_columns,
        "max_length": predictor.policy.max_length,
        "overflow": predictor.policy.overflow,
        "bundle": served.fingerprint,
        "fingerprints": bundle.info.fingerprints,
        "loaded": served.loaded.isoformat(timespec="seconds"),
        "device": predictor.device,
        "form": predictor.form,
        "versions": {**served.versions, "bundle_made_by": bundle.info.textmill_version},
        "limits": asdict(service.limits),
        "examples": [{"text": text, **told(one, 1)} for text, one in served.examples],
    }

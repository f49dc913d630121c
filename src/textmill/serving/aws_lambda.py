"""The service as an AWS Lambda function, behind a function URL or an HTTP API of API Gateway.

AWS is told to call ``textmill.serving.aws_lambda.handler``. That is made when it is first looked
up, which Lambda does while it starts an instance: by the first request, the bundle is loaded and
proved. Importing this module alone does nothing.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mangum import Mangum

from textmill.errors import InputError
from textmill.serving.application import Rules, build_application
from textmill.serving.keys import VARIABLE as KEYS_VARIABLE
from textmill.serving.keys import ApiKeys, read_keys
from textmill.serving.limits import Limits
from textmill.serving.logs import configure_logs
from textmill.serving.metrics import Metrics
from textmill.serving.served import Computing
from textmill.serving.service import Queueing, Service

if TYPE_CHECKING:
    from mangum.types import ASGI

    handler: Mangum

BUNDLE_VARIABLE = "TEXTMILL_BUNDLE"
INSECURE_VARIABLE = "TEXTMILL_INSECURE"


def __getattr__(name: str) -> Mangum:
    if name != "handler":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    configure_logs()
    made = globals()[name] = make_handler(os.environ)
    return made


def make_handler(environment: Mapping[str, str]) -> Mangum:
    """What answers events: the application of ``textmill serve``, with its defaults.

    Args:
        environment: The environment: ``TEXTMILL_BUNDLE`` is the bundle's path and
            ``TEXTMILL_API_KEYS`` has the keys, between commas. Only with a ``TEXTMILL_INSECURE``
            of 1 may there be none.

    Raises:
        InputError: There is no bundle or no key, or the bundle is not what was trained.
    """
    bundle = environment.get(BUNDLE_VARIABLE)
    if not bundle:
        raise InputError(
            f"{BUNDLE_VARIABLE} is not set", hint="set it to the folder that the bundle is in"
        )
    rules = Rules(_keys(environment))
    # Each instance of a function counts for itself.
    metrics = Metrics(Path(tempfile.mkdtemp(prefix="textmill-metrics-")), 0)
    service = Service(Computing("cpu"), Limits(), Queueing(), metrics)
    # All events of an instance are answered in this loop, one after the other.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(service.load(bundle))
    application = build_application(service, rules)
    return Mangum(cast("ASGI", application), lifespan="off")


def _keys(environment: Mapping[str, str]) -> ApiKeys:
    keys = read_keys(environment, None)
    if not keys and environment.get(INSECURE_VARIABLE) != "1":
        raise InputError(
            "anybody could call the function without a key",
            hint=f"set {KEYS_VARIABLE}, or {INSECURE_VARIABLE}=1 where AWS checks who asks",
        )
    return keys

"""``textmill serve``: answers over HTTP which label a text has.

Only what parsing the arguments needs is imported here.
"""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from textmill.arguments import ArgumentParser, positive
from textmill.errors import InputError, MachineError
from textmill.forms.choosing import FORM_CHOICES
from textmill.installed import require_installed

if TYPE_CHECKING:
    from textmill.serving.keys import ApiKeys
    from textmill.serving.limits import Limits
    from textmill.serving.prediction_log import LogSettings


def main(argv: Sequence[str]) -> int:
    """Runs the verb until it is ended; returns the exit status.

    Raises:
        InputError: The arguments or the bundle are not right, or the extra ``serve`` is missing.
        MachineError: The address can't be had, or the workers die before they are ready.
    """
    options = _parser().parse_args(argv)
    _check(options)
    require_installed(["fastapi", "httptools", "prometheus_client", "uvicorn"], "textmill[serve]")
    keys = _keys(options)
    if options.log_predictions is not None:
        _check_folder(options.log_predictions)
    _serve(options, keys)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(
        prog="textmill serve",
        description="Answers over HTTP which label a text has, until it gets SIGTERM or Ctrl-C; "
        "what was accepted by then is still answered. SIGHUP has it take the bundle that is at "
        "the path now, if that proves itself, and the API keys that are in their file.",
        epilog='POST /predict labels texts: {"texts": ["..."]}. /info tells what is served, '
        "/openapi.json all routes. API keys are taken from TEXTMILL_API_KEYS, between commas.",
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="folder of a bundle or a run, or 'latest'")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="port; 0 is any free one (8000)")
    parser.add_argument(
        "--workers", metavar="N", type=positive, default=1, help="processes that answer (1)"
    )
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:NUMBER or mps (auto)"
    )
    parser.add_argument(
        "--form", choices=FORM_CHOICES, default="auto", help="form of the model (the fastest there)"
    )
    parser.add_argument(
        "--threads", metavar="N", type=positive, help="threads a worker (its share of the cores)"
    )
    _add_access(parser.add_argument_group("access"))
    _add_limits(parser.add_argument_group("limits"))
    _add_logs(parser.add_argument_group("logs"))
    return parser


def _add_access(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--api-keys", metavar="FILE", type=Path, help="file of API keys, one a line")
    group.add_argument(
        "--insecure", action="store_true", help="let other machines in without a key"
    )


def _add_limits(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--batch-size", metavar="N", type=positive, default=32, help="texts scored together (32)"
    )
    group.add_argument(
        "--queue",
        metavar="N",
        type=positive,
        default=1024,
        help="texts that may wait in a worker; past it 503 is answered (1024)",
    )
    group.add_argument(
        "--max-texts", metavar="N", type=positive, default=256, help="texts of a request (256)"
    )
    group.add_argument(
        "--max-characters",
        metavar="N",
        type=positive,
        default=20_000,
        help="characters of a text (20000)",
    )
    group.add_argument(
        "--max-body", metavar="BYTES", type=positive, default=2**20, help="a body (1048576)"
    )
    group.add_argument(
        "--connections",
        metavar="N",
        type=positive,
        default=512,
        help="connections that a worker answers; past it 503 is answered (512)",
    )
    group.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=positive,
        default=30,
        help="for a body to arrive, for an answer, and for the rest at the end (30)",
    )


def _add_logs(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--no-request-log", action="store_true", help="log no single requests")
    group.add_argument(
        "--log-predictions", metavar="FOLDER", type=Path, help="write predictions to parquet files"
    )
    group.add_argument(
        "--log-megabytes",
        metavar="N",
        type=positive,
        default=1024,
        help="what these may take; the oldest are removed (1024)",
    )
    group.add_argument("--log-texts", action="store_true", help="the texts in either log, too")


def _check(options: argparse.Namespace) -> None:
    """Refuses arguments that don't go together."""
    if not 0 <= options.port < 2**16:
        raise InputError(f"there is no port {options.port}", hint="choose one from 0 to 65535")
    if options.queue < options.max_texts:
        raise InputError(
            f"the queue of {options.queue} texts has no room for a request of {options.max_texts}",
            hint="raise --queue or lower --max-texts",
        )
    if options.log_texts and options.no_request_log and options.log_predictions is None:
        raise InputError("--log-texts needs a log", hint="leave --no-request-log out")


def _keys(options: argparse.Namespace) -> ApiKeys:
    from textmill.serving.keys import check_exposure, read_keys

    keys = read_keys(os.environ, options.api_keys)
    check_exposure(options.host, keys, insecure=options.insecure)
    return keys


def _keys_again(file: Path | None) -> ApiKeys | None:
    """The keys that are in the file now; None if there is none."""
    from textmill.serving.keys import read_keys

    return None if file is None else read_keys({}, file)


def _check_folder(folder: Path) -> None:
    """Makes the folder of the prediction log, before anything is served.

    Raises:
        InputError: Nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        allowed = os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        allowed = False
    if not allowed:
        raise InputError(
            "the prediction log can't be written",
            where=str(folder),
            hint="choose another folder for --log-predictions",
        )


def _serve(options: argparse.Namespace, keys: ApiKeys) -> None:
    from textmill.serving.logs import configure_logs, tell
    from textmill.serving.supervisor import Supervisor, metrics_folder

    configure_logs()
    with _listener(options.host, options.port) as listener, metrics_folder() as counts:

        def run(
            number: int, shared: socket.socket, line: Connection, bundle: str, at_once: bool
        ) -> int:
            return _work(options, keys, counts, (number, shared, line), bundle, at_once=at_once)

        tell("listening", url=_url(listener), bundle=options.bundle, workers=options.workers)
        place = (listener, options.bundle, options.workers, options.timeout)
        Supervisor(run, *place, keys, lambda: _keys_again(options.api_keys)).serve()


def _work(
    options: argparse.Namespace,
    keys: ApiKeys,
    counts: Path,
    place: tuple[int, socket.socket, Connection],
    bundle: str,
    *,
    at_once: bool,
) -> int:
    """What a worker's process does; only here is anything heavy imported."""
    if options.threads is None:
        share = max(1, (os.cpu_count() or 1) // options.workers)
        os.environ.setdefault("OMP_NUM_THREADS", str(share))
    else:
        os.environ["OMP_NUM_THREADS"] = str(options.threads)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from textmill.serving.application import Rules
    from textmill.serving.served import Computing
    from textmill.serving.service import Queueing
    from textmill.serving.worker import Duties, Worker

    duties = Duties(
        Computing(options.device, options.form),
        _limits(options),
        Queueing(options.batch_size, options.queue),
        Rules(keys, log_requests=not options.no_request_log, log_texts=options.log_texts),
        _log_settings(options),
        counts,
        options.timeout,
    )
    return Worker(duties, *place).run(bundle, listen_at_once=at_once)


def _limits(options: argparse.Namespace) -> Limits:
    from textmill.serving.limits import Limits

    return Limits(
        options.max_body,
        options.max_texts,
        options.max_characters,
        options.timeout,
        options.connections,
    )


def _log_settings(options: argparse.Namespace) -> LogSettings | None:
    from textmill.serving.prediction_log import LogSettings

    if options.log_predictions is None:
        return None
    return LogSettings(options.log_predictions, options.log_texts, options.log_megabytes)


def _listener(host: str, port: int) -> socket.socket:
    """A socket bound to the address.

    Raises:
        MachineError: The address is taken, or is none of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise MachineError(
            f"can't listen at {host} port {port} ({error.strerror or error})",
            hint="choose another --port or --host",
        ) from error


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

"""One process of a service: it loads the bundle and answers requests until it is told to end."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from socket import socket
from typing import Any, cast

import uvicorn

from textmill.errors import TextmillError, reason_of
from textmill.serving.application import Rules, build_application
from textmill.serving.connections import BoundedConnection
from textmill.serving.limits import Limits
from textmill.serving.logs import tell_error
from textmill.serving.messages import Load, Ready, Refused, TakeKeys
from textmill.serving.metrics import Metrics
from textmill.serving.prediction_log import LogSettings, PredictionLog
from textmill.serving.served import Computing
from textmill.serving.service import Queueing, Service

# After it has been told to end, a worker goes on answering for this long: a load balancer needs a
# moment to send requests elsewhere, and some are on their way.
LINGER_SECONDS = 1.0

# A connection on which nothing comes for so long, at the end, has nothing to lose.
_QUIET_SECONDS = 1.0
# Longer than load balancers keep connections, so that it is them who close one, not we, who could
# do so just when a request is on its way.
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 2048
_TICK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Duties:
    """What a worker does, as it was asked for on the command line.

    Args:
        computing: How the bundle computes.
        limits: What requests may be.
        queueing: How they wait.
        rules: Who may ask, and what is logged.
        log: How predictions are logged; None for not at all.
        metrics_folder: Where the workers count.
        grace_seconds: How long requests may still take once the end has come.
    """

    computing: Computing
    limits: Limits
    queueing: Queueing
    rules: Rules
    log: LogSettings | None
    metrics_folder: Path
    grace_seconds: int


class _Server(uvicorn.Server):
    """Leaves signals to the worker, and ends without dropping a request that is on its way.

    Args:
        config: The server's settings.
        listener: The socket that it accepts connections from.
    """

    def __init__(self, config: uvicorn.Config, listener: socket) -> None:
        super().__init__(config)
        self._listener = listener
        # The event loop closes the one that it listens at, with all connections that wait in it.
        self._spare = listener.dup()

    async def serve_on(self) -> None:
        """Serves until it is to exit."""
        await self.serve(sockets=[self._listener])

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        await self._take_waiting()
        await self._until_quiet()
        await super().shutdown(sockets)

    async def _take_waiting(self) -> None:
        """Takes the connections that clients have opened, before none are taken any more."""
        waiting = []
        with self._spare, suppress(BlockingIOError):
            self._spare.setblocking(False)
            while True:
                waiting.append(self._spare.accept()[0])
        loop = asyncio.get_running_loop()
        for connection in waiting:
            connection.setblocking(False)
            await loop.connect_accepted_socket(self._protocol, connection)

    async def _until_quiet(self) -> None:
        """Waits until the open connections are closed, as each is with its next answer, or idle."""
        end = time.monotonic() + _QUIET_SECONDS
        while self.server_state.connections and time.monotonic() < end:
            await asyncio.sleep(_TICK_SECONDS)
            if self.server_state.tasks:
                end = time.monotonic() + _QUIET_SECONDS

    def _protocol(self) -> asyncio.Protocol:
        kind: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = kind(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol


class Worker:
    """One worker.

    Args:
        duties: What it does.
        number: Its number among the workers.
        listener: The socket that all workers accept connections from.
        supervisor: The line to the process that started it.
    """

    def __init__(
        self, duties: Duties, number: int, listener: socket, supervisor: Connection
    ) -> None:
        self._supervisor, self._keys = supervisor, duties.rules.keys
        metrics = Metrics(duties.metrics_folder, number)
        self._log = None if duties.log is None else PredictionLog(duties.log, metrics.lost)
        self._service = Service(
            duties.computing, duties.limits, duties.queueing, metrics, self._log
        )
        config = uvicorn.Config(
            build_application(self._service, duties.rules),
            http=cast("Any", partial(BoundedConnection, duties.limits.connections)),
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=duties.grace_seconds,
        )
        self._config, self._server = config, _Server(config, listener)
        self._tasks: set[asyncio.Task[None]] = set()
        self._loading = asyncio.Lock()
        self._failed = False

    def run(self, bundle: str, *, listen_at_once: bool) -> int:
        """Serves to the end; returns the exit status.

        Args:
            bundle: The path of the bundle to begin with.
            listen_at_once: Whether requests are accepted, and told to come again, while it is
                loaded; otherwise they are left to the other workers.
        """
        with asyncio.Runner(loop_factory=self._config.get_loop_factory()) as runner:
            runner.run(self._serve(bundle, listen_at_once=listen_at_once))
        if self._log is not None:
            self._log.close()
        return 1 if self._failed else 0

    async def _serve(self, bundle: str, *, listen_at_once: bool) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_reader(self._supervisor.fileno(), self._obey)
        loading = loop.create_task(self._begin(bundle))
        if not listen_at_once:
            while not (loading.done() or self._server.should_exit):
                await asyncio.wait((loading,), timeout=_TICK_SECONDS)
        if not self._server.should_exit:
            await self._server.serve_on()
        loading.cancel()
        loop.remove_reader(self._supervisor.fileno())

    async def _begin(self, bundle: str) -> None:
        """Loads the first bundle, without which there is nothing to do."""
        if not await self._load(bundle):
            self._failed = True
            self._server.should_exit = True

    async def _load(self, path: str) -> bool:
        """Loads a bundle and tells the supervisor how that went."""
        async with self._loading:
            try:
                served = await self._service.load(path)
            except TextmillError as error:
                self._refuse(Refused(error.problems, error.exit_status))
                return False
            except Exception as error:  # noqa: BLE001 - whatever is in the bundle, the old one stays
                tell_error("error", error, bundle=path)
                self._refuse(Refused((f"the bundle can't be loaded ({reason_of(error)})",), 1))
                return False
            self._service.metrics.bundle("taken")
            self._report(Ready(str(served.folder), served.fingerprint))
            return True

    def _refuse(self, refused: Refused) -> None:
        self._service.metrics.bundle("refused")
        self._report(refused)

    def _report(self, message: Ready | Refused) -> None:
        try:
            self._supervisor.send(message)
        except OSError:
            self._stop()  # The supervisor is gone.

    def _obey(self) -> None:
        """Takes an order; when the supervisor is gone, ends."""
        try:
            order: Load | TakeKeys = self._supervisor.recv()
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(self._supervisor.fileno())
            self._stop()
            return
        if isinstance(order, TakeKeys):
            self._keys.take(order.keys)
        else:
            self._start(self._reload(order.path))

    async def _reload(self, path: str) -> None:
        await self._load(path)

    def _stop(self) -> None:
        """Begins to end; told so a second time, drops what is not answered yet."""
        if self._service.stopping:
            self._server.should_exit = self._server.force_exit = True
            return
        self._service.stopping = True
        self._start(self._end())

    async def _end(self) -> None:
        if self._service.served is not None:
            await asyncio.sleep(LINGER_SECONDS)
        self._server.should_exit = True

    def _start(self, work: asyncio._CoroutineLike[None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

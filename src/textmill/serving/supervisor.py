"""The process that starts a service's workers, and starts them again when they die.

It imports nothing that starts threads, so that a fork of it is a clean beginning for a worker.
"""

from __future__ import annotations

import fcntl
import math
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from socket import socket

from textmill.errors import InputError, MachineError, TextmillError
from textmill.serving.keys import ApiKeys
from textmill.serving.logs import tell, warn
from textmill.serving.messages import Load, Ready, Refused, TakeKeys

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# What comes on top of the time that workers have to end, before they are killed.
_LATE_SECONDS = 5.0
_LONGEST_PAUSE = 30.0
_METRICS = "textmill-metrics-"
_FORKING = multiprocessing.get_context("fork")

# What a worker's process does: its number, the listening socket, the line to the supervisor, the
# bundle, and whether it listens at once; returns the exit status.
Run = Callable[[int, socket, Connection, str, bool], int]
# The API keys as they are now; None if they can't change. Raises InputError if something is wrong.
ReadKeys = Callable[[], ApiKeys | None]


@dataclass(slots=True)
class _Slot:
    """The place of one worker, and who has it."""

    number: int
    process: BaseProcess | None = None
    line: Connection | None = None
    fingerprint: str | None = None
    failures: int = 0
    restart_at: float = 0.0

    @property
    def ready(self) -> bool:
        return self.fingerprint is not None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The bundle that is in service: where it was asked for, where it is, and what it is."""

    folder: str
    fingerprint: str


class Supervisor:
    """Keeps a number of workers alive, from one bundle to the next, until a signal ends it.

    SIGTERM and SIGINT end the service once all that was accepted is answered. SIGHUP has it look
    at the bundle's path again: one worker tries what is there, and if that proves itself, the
    others take it too; if not, all stay with what they have. The same holds for the API keys.

    Args:
        run: What a worker does.
        listener: The bound socket that all accept connections from.
        bundle: The bundle, as on the command line.
        workers: How many workers there are.
        grace_seconds: How long the workers may take to end.
        keys: The API keys, which workers yet to start are to take.
        read_keys: Reads them again.
    """

    def __init__(
        self,
        run: Run,
        listener: socket,
        bundle: str,
        workers: int,
        grace_seconds: float,
        keys: ApiKeys,
        read_keys: ReadKeys,
    ) -> None:
        self._keys, self._read_keys = keys, read_keys
        self._run, self._listener, self._bundle = run, listener, bundle
        self._grace_seconds = grace_seconds
        self._slots = [_Slot(number) for number in range(workers)]
        self._accepted: Accepted | None = None
        self._trying: _Slot | None = None
        self._try_again = False
        self._stopped_at = math.inf
        self._told: list[int] = []

    def serve(self) -> None:
        """Serves until a signal ends it.

        Raises:
            InputError: No worker takes the bundle that the service is to begin with.
            MachineError: The workers die before they are ready.
        """
        with self._signals() as wakeup:
            try:
                for slot in self._slots:
                    self._start(slot)
                while any(slot.process for slot in self._slots) or not self._stopping:
                    self._wait(wakeup)
            finally:
                self._kill()

    @property
    def _stopping(self) -> bool:
        return self._stopped_at < math.inf

    @contextmanager
    def _signals(self) -> Iterator[int]:
        """Signals are noted, and wake the loop by a pipe."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        woken_before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, lambda number, _frame: self._told.append(number))
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(woken_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(reader)
            os.close(writer)

    def _start(self, slot: _Slot) -> None:
        """Starts a worker; it listens at once if no other could answer."""
        at_once = slot.number == 0 and self._accepted is None
        at_once = at_once or not any(other.ready for other in self._slots if other is not slot)
        ours, theirs = _FORKING.Pipe()
        bundle = self._bundle if self._accepted is None else self._accepted.folder
        slot.process = _FORKING.Process(
            target=self._become_worker, args=(slot, theirs, bundle, at_once)
        )
        # A signal between the fork and the worker's first line would be lost in the worker.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        slot.line = ours
        slot.process.start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        theirs.close()
        tell("worker started", worker=slot.number, pid=slot.process.pid)

    def _become_worker(self, slot: _Slot, line: Connection, bundle: str, at_once: bool) -> None:
        """In the new process: nothing of the supervisor is left but what was given."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        # A worker notices by the end of its line that the supervisor is gone.
        for other in self._slots:
            if other.line is not None:
                other.line.close()
        status = self._run(slot.number, self._listener, line, bundle, at_once)
        sys.stderr.flush()
        os._exit(status)  # Without waiting for threads that compute what nobody wants any more.

    def _wait(self, wakeup: int) -> None:
        """Waits for something to happen, and reacts to it."""
        lines = {slot.line: slot for slot in self._slots if slot.line is not None}
        ended = {slot.process.sentinel: slot for slot in self._slots if slot.process is not None}
        happened = wait([wakeup, *lines, *ended], timeout=self._until_next())
        if wakeup in happened:
            os.read(wakeup, 1024)
        for line, slot in lines.items():
            if line in happened:
                self._hear(slot)
        for sentinel, slot in ended.items():
            if sentinel in happened:
                self._bury(slot)
        while self._told:
            self._obey(self._told.pop(0))
        self._keep_going()

    def _until_next(self) -> float | None:
        """Seconds to the next thing to be done at a certain time; None if there is none."""
        due = [slot.restart_at for slot in self._slots if slot.process is None]
        if self._stopping:
            due = [self._stopped_at + self._grace_seconds + _LATE_SECONDS]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _keep_going(self) -> None:
        now = time.monotonic()
        if self._stopping:
            if now > self._stopped_at + self._grace_seconds + _LATE_SECONDS:
                self._kill()
            return
        for slot in self._slots:
            if slot.process is None and slot.restart_at <= now:
                self._start(slot)

    def _obey(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._renew_keys()
            self._reload()
        elif not self._stopping:
            self._stop()
        else:
            self._kill()

    def _renew_keys(self) -> None:
        """Has all workers, also those yet to start, take the API keys that are there now."""
        try:
            keys = self._read_keys()
        except InputError as error:
            warn("the keys before stay", problems=error.problems)
            return
        if keys is not None:
            tell("keys taken", keys=len(keys))
            self._keys.take(keys)
            for slot in self._slots:
                self._send(slot, TakeKeys(keys))

    def _stop(self) -> None:
        tell("stopping")
        self._stopped_at = time.monotonic()
        self._listener.close()  # The workers have it, too, until they stop listening.
        for slot in self._slots:
            if slot.process is not None:
                slot.process.terminate()

    def _kill(self) -> None:
        for slot in self._slots:
            if slot.process is not None:
                slot.process.kill()
                slot.process.join()
                slot.process = None

    def _hear(self, slot: _Slot) -> None:
        assert slot.line is not None  # noqa: S101 - it is what was heard
        try:
            message: Ready | Refused = slot.line.recv()
        except (EOFError, OSError):
            slot.line.close()
            slot.line = None
            return
        if isinstance(message, Ready):
            self._hear_ready(slot, message)
        else:
            self._hear_refused(slot, message)

    def _hear_ready(self, slot: _Slot, message: Ready) -> None:
        slot.fingerprint, slot.failures = message.fingerprint, 0
        found = Accepted(message.folder, message.fingerprint)
        tell("worker ready", worker=slot.number, bundle=found.folder, fingerprint=found.fingerprint)
        if self._accepted is None or slot is self._trying:
            self._accept(found)
        elif found.folder == self._accepted.folder and found != self._accepted:
            warn("bundle replaced in its place", bundle=found.folder)
            self._accept(found)
        elif found != self._accepted:
            self._have_loaded(slot)

    def _accept(self, found: Accepted) -> None:
        """All workers are to serve this bundle from now on."""
        self._accepted, self._trying = found, None
        for slot in self._slots:
            if slot.ready and slot.fingerprint != found.fingerprint:
                self._have_loaded(slot)
        if self._try_again:
            self._reload()

    def _have_loaded(self, slot: _Slot) -> None:
        """Has a worker take the accepted bundle."""
        assert self._accepted is not None  # noqa: S101 - there is one as soon as a worker is ready
        self._send(slot, Load(self._accepted.folder))

    def _send(self, slot: _Slot, order: Load | TakeKeys) -> None:
        try:
            if slot.line is not None:
                slot.line.send(order)
        except OSError:
            pass  # It is dying, and will be started again.

    def _hear_refused(self, slot: _Slot, message: Refused) -> None:
        if self._accepted is None:
            # What the service was to begin with is wrong: that ends the command.
            kind = InputError if message.exit_status == InputError.exit_status else MachineError
            problems = [TextmillError(problem) for problem in message.problems]
            raise kind.all_of(problems)
        warn("bundle refused", worker=slot.number, problems=message.problems)
        if slot is self._trying:
            self._trying = None
            warn("the bundle before stays", bundle=self._accepted.folder)
            if self._try_again:
                self._reload()
        elif slot.ready and slot.process is not None:
            # It has another bundle than the rest, and can't take theirs.
            slot.process.terminate()

    def _reload(self) -> None:
        """Has one worker try what is at the bundle's path now."""
        ready = [slot for slot in self._slots if slot.ready]
        self._try_again = self._trying is not None or not ready
        if not self._try_again and not self._stopping:
            self._trying = ready[0]
            tell("reloading", bundle=self._bundle, worker=ready[0].number)
            self._send(ready[0], Load(self._bundle))

    def _bury(self, slot: _Slot) -> None:
        """A worker has ended: it is started again, unless that was wanted."""
        assert slot.process is not None  # noqa: S101 - it is what ended
        slot.process.join()
        status = slot.process.exitcode
        while slot.line is not None and slot.line.poll():
            self._hear(slot)
        if slot.line is not None:
            slot.line.close()
        slot.process = slot.line = slot.fingerprint = None
        if self._stopping:
            return
        if self._accepted is None:
            raise MachineError(
                f"a worker ended before it was ready (status {status})",
                hint="see what it said above; is there enough memory?",
            )
        pause = min(_LONGEST_PAUSE, 2.0**slot.failures - 1)
        slot.failures += 1
        slot.restart_at = time.monotonic() + pause
        warn("worker ended", worker=slot.number, status=status, again_in_seconds=pause)
        if slot is self._trying:
            self._trying = None
            warn("the bundle before stays", bundle=self._accepted.folder)


@contextmanager
def metrics_folder() -> Iterator[Path]:
    """A folder for the workers to count in, for as long as the service lives.

    Those of services that were killed are removed.

    Raises:
        MachineError: There is no place for it.
    """
    try:
        _remove_left_behind(Path(tempfile.gettempdir()))
        folder, lock = _locked_folder()
    except OSError as error:
        raise MachineError(
            f"there is no folder for temporary files ({error.strerror})",
            hint="set TMPDIR to one that can be written",
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _locked_folder() -> tuple[Path, int]:
    """A new folder, locked for as long as this process or one of its workers lives."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_METRICS))
        with suppress(FileNotFoundError):  # Taken for one left behind before it was locked.
            lock = os.open(folder, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.exists():
                return folder, lock
            os.close(lock)


def _remove_left_behind(parent: Path) -> None:
    """Removes the folders whose services are no more."""
    for folder in parent.glob(f"{_METRICS}*"):
        with suppress(OSError):  # Another's, or one whose service lives.
            lock = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(lock)

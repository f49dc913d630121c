"""Uploads what W&B has recorded of a run, by ``wandb sync`` in a process that can be left behind.

A server that hangs, or that is away for a while, so never holds up anything else.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from textmill.errors import MachineError
from textmill.safe_write import machine_faults

# How long somebody who waits at the terminal is kept waiting, unless they set it otherwise.
_IMPATIENT = {
    "WANDB__GRAPHQL_RETRY_MAX": "2",
    "WANDB__GRAPHQL_TIMEOUT_SECONDS": "10",
    "WANDB__FILE_STREAM_RETRY_MAX": "2",
    "WANDB__FILE_STREAM_TIMEOUT_SECONDS": "20",
    "WANDB__FILE_TRANSFER_RETRY_MAX": "2",
    "WANDB__FILE_TRANSFER_TIMEOUT_SECONDS": "600",
}
_SERVER = re.compile(r"^server (\S+)$", re.MULTILINE)
# What went wrong, without the advice that W&B adds, which is about its own settings and logs.
_ERROR = re.compile(
    r"^(?:wandb: )?(?:ERROR|Error:) (?!Find detailed|Consider increasing|  )(.*)$", re.MULTILINE
)
_ADDRESS = re.compile(r"View run .*at (\S+)$", re.MULTILINE)
_LONGEST_REASON = 300


class Upload:
    """A running upload.

    Args:
        folder: The run folder's ``wandb/``.
        records: The folders in it to upload.
        live: Whether they are still being written: then it ends when they do, and a server that
            does not answer is tried again for as long as that takes.

    Raises:
        MachineError: The folder can't be written.
    """

    def __init__(self, folder: Path, records: Sequence[Path], *, live: bool) -> None:
        self._records = records
        self._log = folder / "upload.log"
        arguments = ["beta", "sync", "--live"] if live else ["sync", "--include-synced"]
        with machine_faults(self._log), self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, *arguments, *map(str, records)],
                env=_environment(folder, {} if live else _IMPATIENT),
                stdin=subprocess.PIPE,  # its end tells the process that this one is gone
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for this process, which may want to finish
            )

    @property
    def ended(self) -> bool:
        """Whether it has ended, one way or the other."""
        return self._process.poll() is not None

    def wait(self, seconds: float | None) -> list[str]:
        """Waits for its end, and gives the addresses where the runs are shown.

        Args:
            seconds: The longest that is waited before it is stopped; None waits on.

        Raises:
            MachineError: Not everything has been uploaded, and why.
        """
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise self._failure(f"the upload had not ended after {seconds:.0f} seconds") from error
        finally:
            self._process.kill()
            self._process.wait()
        reasons = _ERROR.findall(self._output())
        if reasons or not all(is_uploaded(record) for record in self._records):
            # W&B also marks as uploaded what it has failed to upload in parts.
            for record in self._records:
                _marker(record).unlink(missing_ok=True)
            raise self._failure(
                " ".join(reasons)[:_LONGEST_REASON].rstrip(".") or "wandb sync has failed"
            )
        return _ADDRESS.findall(self._output())

    def _failure(self, reason: str) -> MachineError:
        server = _SERVER.search(self._output())
        return MachineError(reason, where=server.group(1) if server else None)

    def _output(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")


def is_uploaded(record: Path) -> bool:
    """Whether a record was uploaded, and has not grown since."""
    marker = _marker(record)
    return marker.exists() and marker.stat().st_mtime >= _file(record).stat().st_mtime


def _marker(record: Path) -> Path:
    """The file that ``wandb sync`` leaves when it has uploaded a record."""
    return _file(record).with_suffix(".wandb.synced")


def _file(record: Path) -> Path:
    (file,) = record.glob("*.wandb")
    return file


def caches(folder: Path) -> dict[str, str]:
    """The variables by which W&B keeps its caches in a folder, and sends nothing of its own."""
    return {
        "WANDB_CACHE_DIR": str(folder / "cache"),
        "WANDB_DATA_DIR": str(folder / "data"),
        "WANDB_ERROR_REPORTING": "false",
    }


def _environment(folder: Path, patience: Mapping[str, str]) -> dict[str, str]:
    # Not the service of this process, which knows of no server.
    inherited = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    return {**patience, **inherited, **caches(folder), "WANDB_DIR": str(folder.parent)}


def _main() -> None:
    """Runs the command line of W&B until the process that has started it is gone."""
    threading.Thread(target=_end_with_starter, daemon=True).start()
    import wandb
    from wandb.cli.cli import cli

    print("server", wandb.setup().settings.base_url, flush=True)
    cli()


def _end_with_starter() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    _main()

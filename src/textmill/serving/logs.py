"""The log of a service: a JSON object a line on standard error; on a terminal, plain lines."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

_LOGGER = logging.getLogger("textmill.serving")


def configure_logs() -> None:
    """Sends what this process logs to standard error, libraries' warnings included."""
    handler = logging.StreamHandler()
    handler.setFormatter(PlainLines() if sys.stderr.isatty() else JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    _LOGGER.setLevel(logging.INFO)


def tell(event: str, **fields: object) -> None:
    """Logs an event with its fields."""
    _LOGGER.info(event, extra={"fields": fields})


def warn(event: str, **fields: object) -> None:
    """Logs an event that somebody should look at."""
    _LOGGER.warning(event, extra={"fields": fields})


def tell_error(event: str, error: BaseException, **fields: object) -> None:
    """Logs an error that nobody has foreseen, with its traceback."""
    _LOGGER.error(event, exc_info=error, extra={"fields": fields})


class JsonLines(logging.Formatter):
    """A record as a JSON object: ``time`` (UTC), ``level``, ``event``, and the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        entry = {**_head(record), **_fields(record)}
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


class PlainLines(logging.Formatter):
    """A record for people: the time of day, the event, and its fields behind their names."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end; more of them where there is a traceback."""
        fields = " ".join(
            f"{name}={json.dumps(value, default=str)}" for name, value in _fields(record).items()
        )
        line = f"{self.formatTime(record, '%H:%M:%S')} {record.getMessage()}  {fields}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _head(record: logging.LogRecord) -> dict[str, Any]:
    moment = datetime.fromtimestamp(record.created, UTC)
    return {
        "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "event": record.getMessage(),
    }


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "fields", {})
    return fields

"""What was measured, as it is kept in the JSON file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from benchmarks.serving.client import Asked
from textmill.safe_write import write_text

# What the contestants consist of, beside what results depend on.
SERVING_PACKAGES = ("onnxruntime", "openvino", "litserve", "fastapi", "uvicorn", "uvloop")


@dataclass(frozen=True, slots=True)
class Latencies:
    """How long some answers took, in seconds: half of them, 95%, and 99%, no longer than that."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latencies:
        """Of at least one answer."""
        ordered = sorted(seconds)
        return cls(*(percentile(ordered, share) for share in (0.50, 0.95, 0.99)))


@dataclass(frozen=True, slots=True)
class Served:
    """What a service did with some connections in a turn.

    Args:
        requests_per_second: Answered while it counted.
        latencies: Of these answers.
        problems: Answers that were not right, by what was wrong.
    """

    requests_per_second: float
    latencies: Latencies
    problems: dict[str, int]

    @classmethod
    def of(cls, asked: Asked) -> Served:
        """Of what a client has found."""
        rate = len(asked.latencies) / asked.seconds
        return cls(rate, Latencies.of(asked.latencies), dict(asked.problems))


@dataclass(slots=True)
class Results:
    """All that was measured.

    Args:
        date: The day, as 2026-11-24.
        machine: As of `textmill.environment.machine`.
        packages: Versions.
        texts: How many different texts were asked, by form.
        mean_tokens: Of a text, special ones included, by form.
        alone: In-process, one text after the other, by form, a turn each round.
        served: By contestant, then by number of connections, a turn each round.
    """

    date: str
    machine: dict[str, Any]
    packages: dict[str, str]
    texts: dict[str, int] = field(default_factory=dict)
    mean_tokens: dict[str, float] = field(default_factory=dict)
    alone: dict[str, list[Latencies]] = field(default_factory=dict)
    served: dict[str, dict[int, list[Served]]] = field(default_factory=dict)

    def problems(self) -> dict[str, int]:
        """How many answers of each contestant were not right, where there are any."""
        counts = {
            name: sum(sum(turn.problems.values()) for turns in found.values() for turn in turns)
            for name, found in self.served.items()
        }
        return {name: count for name, count in counts.items() if count}


_RESULTS = TypeAdapter(Results)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The least of some ascending numbers that so large a share of them doesn't exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def write_results(path: Path, results: Results) -> None:
    """Writes the JSON file, whole or not at all."""
    write_text(path, _RESULTS.dump_json(results, indent=1).decode() + "\n")


def read_results(path: Path) -> Results:
    """Reads what `write_results` wrote."""
    return _RESULTS.validate_json(path.read_bytes())

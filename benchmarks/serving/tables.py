"""Tables of what was measured, for the terminal and for the docs."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.serving.contestants import KNOWN, SERIES, litserve_name
from benchmarks.serving.graph import FILES
from benchmarks.serving.results import SERVING_PACKAGES, Latencies, Results, Served
from benchmarks.spread import Spread, ratios
from benchmarks.tables import Table, told

Found = dict[str, list[Served]]


def tables_of(results: Results) -> list[Table]:
    """A table of the machine, one for each number of connections, and one of a lone request."""
    counts = {count for found in results.served.values() for count in found}
    tables = [_machine(results)]
    for count in sorted(counts):
        found = {name: turns[count] for name, turns in results.served.items()}
        tables.append(_connections(count, found))
        if count == 1:
            tables.append(_alone(results.alone, found))
    return tables


def form_of(name: str) -> str:
    """The form of the classifier that a contestant's name tells; float32 for the others."""
    return next((form for form in FILES if f", {form}" in name), "onnx")


def _machine(results: Results) -> Table:
    machine, packages = results.machine, results.packages
    versions = {name: packages[name] for name in SERVING_PACKAGES}
    texts = ", ".join(
        f"{form}: {count:,} of {results.mean_tokens[form]:.1f} tokens on average"
        for form, count in results.texts.items()
    )
    rows = (
        ("machine", machine["processor"]),
        ("cores", str(machine["cores"])),
        ("instructions", machine["instructions"]),
        (", ".join(versions), ", ".join(versions.values())),
        ("texts", texts),
    )
    return Table(f"Measured on {results.date}", ("", "found"), rows)


def _connections(count: int, found: Found) -> Table:
    rates = {name: [turn.requests_per_second for turn in turns] for name, turns in found.items()}
    rows = [
        (
            name,
            told(Spread.of(rates[name]), ",.0f"),
            _ratio(rates, name, litserve_name(form_of(name))),
            _ratio(rates, name, SERIES),
            *_latencies([turn.latencies for turn in turns]),
        )
        for name, turns in found.items()
    ]
    header = (
        *("service", "requests/s", "to LitServe", "to a call a request"),
        *("p50, ms", "p95, ms", "p99, ms"),
    )
    return Table(f"{count} connection{'s' if count > 1 else ''}", header, tuple(rows))


def _alone(alone: dict[str, list[Latencies]], found: Found) -> Table:
    """What a service adds to the call in-process, round by round."""
    rows = [
        (
            name,
            told(Spread.of([1000 * turn.latencies.p50 for turn in turns]), ".2f"),
            told(Spread.of([1000 * turn.p50 for turn in alone[form]]), ".2f"),
            told(
                Spread.of(
                    [
                        1000 * (turn.latencies.p50 - base.p50)
                        for turn, base in zip(turns, alone[form], strict=True)
                    ]
                ),
                ".2f",
            ),
        )
        for name, turns in found.items()
        if name.startswith("Textmill")
        for form in [form_of(name)]
    ]
    header = ("service", "p50, ms", "in-process, ms", "difference, ms")
    return Table("A lone request", header, tuple(rows))


def _ratio(rates: dict[str, list[float]], name: str, base: str) -> str:
    """Where that says something: the speed of no classifier is not for comparing."""
    if base not in rates or name == KNOWN:
        return ""
    return told(ratios(rates[name], rates[base]), ".2f")


def _latencies(turns: Sequence[Latencies]) -> list[str]:
    parts = ([getattr(turn, part) for turn in turns] for part in ("p50", "p95", "p99"))
    return [told(Spread.of([1000 * seconds for seconds in part]), ".1f") for part in parts]

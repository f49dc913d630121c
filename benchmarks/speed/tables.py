"""Tables of what was measured, for the terminal and for the docs."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.speed.results import (
    MIB,
    Facts,
    Parts,
    Results,
    Scored,
    Tokenized,
    Trained,
)
from benchmarks.speed.scoring import PIPELINE
from benchmarks.speed.training import TEXTMILL, TRAINER, TRAINER_BEST
from benchmarks.spread import Spread, ratios
from benchmarks.startup import HYDRA
from benchmarks.tables import Table, told


def tables_of(results: Results) -> list[Table]:
    """The tables of the parts that were measured, and first one of the machine."""
    tables = [_machine(results)]
    for name, found in results.training.items():
        tables.append(_training(name, results.facts[name], found))
    if results.overhead:
        tables.append(_overhead(results.overhead))
    if results.scoring:
        tables.append(_scoring(results.scoring))
    if results.tokenizing:
        tables.append(_tokenizing(results.tokenizing))
    if results.growth_facts is not None:
        tables.append(_growth(results.growth_facts, results.growth))
    if results.startup:
        tables.append(_startup(results.startup))
    return tables


def _machine(results: Results) -> Table:
    machine, packages = results.machine, results.packages
    device = ", ".join(machine["accelerators"]) or machine["processor"]
    rows = [
        ("machine", device),
        ("cores, threads", f"{machine['cores']}, {machine['threads']}"),
        ("instructions", machine["instructions"]),
        ("torch, transformers", f"{packages['torch']}, {packages['transformers']}"),
    ]
    products: dict[str, list[float]] = {}
    for found in results.training.values():
        for turn in (turn for turns in found.values() for turn in turns):
            for precision, flops in turn.product_flops.items():
                products.setdefault(precision, []).append(flops / 1e9)
    rows += [
        (f"matrix product, {precision}", f"{told(Spread.of(flops), '.0f')} GFLOP/s")
        for precision, flops in products.items()
    ]
    return Table(f"Measured on {results.date}", ("", "found"), tuple(rows))


def _training(name: str, facts: Facts, found: dict[str, list[Trained]]) -> Table:
    rates = {
        contestant: [turn.examples_per_second(facts) for turn in turns]
        for contestant, turns in found.items()
    }
    rows = [
        (
            contestant,
            turns[0].precision,
            told(Spread.of(rates[contestant]), ".1f"),
            told(ratios(rates[contestant], rates[TRAINER_BEST]), ".2f"),
            told(ratios(rates[contestant], rates[TRAINER]), ".1f"),
            f"{Spread.of([turn.utilisation(facts) for turn in turns]).median:.0%}",
            _mebibytes([turn.peak_bytes for turn in turns]),
        )
        for contestant, turns in found.items()
    ]
    title = (
        f"Training on {name} texts: {facts.data}, {facts.mean_tokens:.1f} tokens a text, "
        f"batches of {facts.batch_size}, {facts.steps} steps"
    )
    header = (
        *("contestant", "precision", "examples/s", "to Trainer's best", "to Trainer's examples"),
        *("utilisation", "peak MiB"),
    )
    return Table(title, header, tuple(rows))


def _overhead(found: dict[str, list[Parts]]) -> Table:
    rows = []
    for name, turns in found.items():
        parts = [
            Spread.of([getattr(turn, part) / turn.whole for turn in turns])
            for part in ("forward", "backward", "optimizer")
        ]
        shares = [f"{share.median:.1%}" for share in parts]
        own = Spread.of([turn.overhead for turn in turns])
        rows.append((f"{name} texts", *shares, told(own, ".1%")))
    header = ("shares of a step's time", "forward", "backward", "optimizer", "anything else")
    return Table("Textmill's own overhead in training", header, tuple(rows))


def _scoring(found: dict[str, list[Scored]]) -> Table:
    alone = {name: [turn.one_text_seconds for turn in turns] for name, turns in found.items()}
    rates = {name: [turn.texts_per_second for turn in turns] for name, turns in found.items()}
    rows = [
        (
            name,
            told(Spread.of([1000 * seconds for seconds in alone[name]]), ".1f"),
            told(ratios(alone[PIPELINE], alone[name]), ".2f"),
            told(Spread.of(rates[name]), ".0f"),
            told(ratios(rates[name], rates[PIPELINE]), ".2f"),
            f"{min(turn.agreement for turn in turns):.2%}",
            _mebibytes([turn.peak_bytes for turn in turns]),
        )
        for name, turns in found.items()
    ]
    header = (
        *("contestant", "one text, ms", "times as fast", "many, texts/s", "times as fast"),
        *("float32's labels", "peak MiB"),
    )
    return Table("Scoring", header, tuple(rows))


def _tokenizing(turns: list[Tokenized]) -> Table:
    own, library = ([getattr(turn, name) for turn in turns] for name in ("textmill", "library"))
    rows = (
        ("tokenizers' encode_batch", told(Spread.of(library), ",.0f"), "1.00"),
        (TEXTMILL, told(Spread.of(own), ",.0f"), told(ratios(own, library), ".2f")),
    )
    return Table("Tokenizing", ("contestant", "texts/s", "ratio"), rows)


def _growth(facts: Facts, found: dict[int, list[Trained]]) -> Table:
    rates = {
        rows: [turn.examples_per_second(facts) for turn in turns] for rows, turns in found.items()
    }
    base = rates[min(rates, key=lambda rows: abs(rows - 10_000))]
    rows = [
        (
            f"{count:,}",
            told(Spread.of(rates[count]), ".1f"),
            told(ratios(rates[count], base), ".2f"),
            f"{turns[0].ready_seconds:.1f}",
            f"{min(turn.ready_seconds for turn in turns[1:]):.1f}" if turns[1:] else "",
            _mebibytes([turn.peak_bytes for turn in turns]),
            _mebibytes([turn.own_bytes or 0 for turn in turns]),
        )
        for count, turns in found.items()
    ]
    header = (
        *("rows", "examples/s", "to 10 thousand rows", "first time ready, s", "again ready, s"),
        *("peak MiB", "of it not mapped from files"),
    )
    return Table("Growth", header, tuple(rows))


def _startup(found: dict[str, list[float]]) -> Table:
    rows = [
        (
            f"`{command}`",
            told(Spread.of(seconds), ".2f"),
            told(ratios(seconds, found[HYDRA]), ".2f"),
        )
        for command, seconds in found.items()
    ]
    return Table("Start-up", ("command", "seconds", "to Hydra alone"), tuple(rows))


def _mebibytes(values: Sequence[int]) -> str:
    return f"{Spread.of(values).median / MIB:,.0f}"

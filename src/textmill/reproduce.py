"""``textmill reproduce``: makes a run again, and says how far it is the same.

Only what parsing the arguments needs is imported here.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textmill.arguments import ArgumentParser
from textmill.errors import InputError
from textmill.runs import Run, find_run, short_path

if TYPE_CHECKING:
    from textmill.configuration.composing import Composed
    from textmill.configuration.schema import TrainConfig
    from textmill.provenance import Differences
    from textmill.reproduction import Reproduction

# The parts of what a run is made from, each with how its facts' names begin.
_PARTS = {
    "code": ("git.", "source"),
    "packages": ("packages.",),
    "encoder": ("encoder",),
    "machine": ("machine.", "precision"),
}
# What of the machine changes no result.
_HARMLESS = "machine.memory_bytes"
_MOST_SHOWN = 10


def main(argv: Sequence[str]) -> int:
    """Runs the verb; returns the exit status: 0 where everything is the same, else 1.

    Raises:
        InputError: There is no such run, or what it was made from is gone.
        MachineError: Something can't be fetched or written.
        StoppedError: The new run was asked to stop.
    """
    options = _parser().parse_args(argv)
    from textmill.reproduction import check_comparable, compare_reproduction

    run = find_run(options.run, options.runs_dir)
    if not options.check:
        check_comparable(run)
    composed = _composed(run, options.runs_dir)
    found = _differences(run, composed.config)
    if not options.json:
        _show_differences(found, run)
    record = {"run": str(run.folder), "differences": _differences_record(found)}
    if options.check or "data" in found:
        if options.json:
            _print_json({**record, "reproduction": None})
        elif not options.check:
            print("the data are not those of the run, so nothing was trained")
        return 1 if found else 0
    again = _train(run, composed)
    compared = compare_reproduction(run, again)
    if options.json:
        _print_json({**record, "reproduction": str(again.folder), **_record(compared)})
    else:
        _show(compared, again)
    return 0 if compared.exact else 1


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="textmill reproduce",
        description="Says what has changed of the code, the packages, the encoder, the machine "
        "and the data since a run was made; then makes it again, as a new run, and compares "
        "weights, metrics and predictions. The exit status is 0 if all are the same, bit for bit, "
        "and else 1.",
        epilog="examples:\n  textmill reproduce latest\n  textmill reproduce latest --check",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "run",
        metavar="RUN",
        help="a run's folder, its name, the beginning of one of these, or 'latest'",
    )
    parser.add_argument(
        "--check", action="store_true", help="only say what has changed; train nothing"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--runs-dir",
        metavar="FOLDER",
        type=Path,
        default=Path("runs"),
        help="where runs are, and where the new one goes (runs)",
    )
    return parser


def _composed(run: Run, runs_dir: Path) -> Composed[TrainConfig]:
    """The run's configuration, for a new run in a folder of runs."""
    from textmill.configuration.composing import run_with_hydra
    from textmill.configuration.overrides import override_of
    from textmill.configuration.saved import take_saved

    composed: list[Composed[TrainConfig]] = []
    argv = ["--config", str(run.folder), override_of("runs_dir", str(runs_dir))]
    run_with_hydra(take_saved(argv, "train", _tell), "train", composed.append)
    return composed[0]


def _differences(run: Run, config: TrainConfig) -> dict[str, Differences]:
    """What the run would be made from today that differs from what it was made from, by part."""
    from textmill.environment import git_state
    from textmill.provenance import data_facts, differing, environment_facts
    from textmill.recipe import encoder_of, examples_of
    from textmill.training import made_from_of

    try:
        examples = examples_of(config.data, config.seed)
        encoder = encoder_of(config.model, config.data, examples, seed=config.seed)
    except InputError as error:
        gone = InputError("what the run was made from is gone", where=str(run.folder))
        raise InputError.all_of([gone, error]) from error
    then, now = run.read_manifest(), made_from_of(config, examples, encoder)
    # The command may be given anywhere; the code is where the run was made.
    now["git"] = git_state(Path(then.get("folder", ".")))
    environment = differing(environment_facts(then), environment_facts(now))
    environment.pop(_HARMLESS, None)
    found = {
        part: {key: values for key, values in environment.items() if key.startswith(begins)}
        for part, begins in _PARTS.items()
    }
    found["data"] = differing(data_facts(then), data_facts(now))
    return {part: differences for part, differences in found.items() if differences}


def _train(run: Run, composed: Composed[TrainConfig]) -> Run:
    from textmill.training import Settings, train

    identity = run.read_manifest().get("identity", str(run.folder))
    return train(composed, Settings(facts={"reproduces": identity}, told=False))


def _show_differences(found: Mapping[str, Differences], run: Run) -> None:
    from textmill.provenance import print_differences
    from textmill.terminal import console

    same = [part for part in (*_PARTS, "data") if part not in found]
    if found:
        titled = {part.capitalize(): differences for part, differences in found.items()}
        print_differences(titled, ("then", "now"), console())
        print()
    if same:
        print(f"the same as in {short_path(run.folder)}: {', '.join(same)}")
    git = run.read_manifest().get("git") or {}
    if git.get("dirty"):
        print("files differed from the commit when the run was made, so the commit alone isn't it")


def _show(compared: Reproduction, again: Run) -> None:
    weights = "the same" if compared.weights[0] == compared.weights[1] else "different"
    by = f", by at most {compared.weight:.3g}" if compared.weight else ""
    lines = [f"weights      {weights}{by}"]
    changed = compared.changed_metrics
    lines.append(f"metrics      {len(changed):,} of {compared.metrics:,} differ")
    lines += [
        f"             {name}: {_number(then)}, now {_number(now)}"
        for name, (then, now) in list(changed.items())[:_MOST_SHOWN]
    ]
    if len(changed) > _MOST_SHOWN:
        lines.append(f"             and {len(changed) - _MOST_SHOWN:,} more; --json has them all")
    for split, changes in compared.splits.items():
        told = (
            f"{changes.predictions:,} of {changes.rows:,} predictions differ, probabilities by at "
            f"most {changes.probability:.3g}"
            if changes.same_examples
            else "other examples"
        )
        lines.append(f"{split:<13}{told}")
    print("\n".join([*lines, f"run          {short_path(again.folder)}", "", _verdict(compared)]))


def _verdict(compared: Reproduction) -> str:
    from textmill.reproduction import CLOSE

    if compared.exact:
        return "reproduced, bit for bit"
    if compared.close:
        return f"reproduced to {CLOSE:g}, but not bit for bit"
    return "not reproduced"


def _number(value: float | None) -> str:
    return "not there" if value is None else repr(value)


def _differences_record(found: Mapping[str, Differences]) -> dict[str, Any]:
    return {
        part: {key: {"then": then, "now": now} for key, (then, now) in differences.items()}
        for part, differences in found.items()
    }


def _record(compared: Reproduction) -> dict[str, Any]:
    return {
        "verdict": _verdict(compared),
        "exact": compared.exact,
        "close": compared.exact or compared.close,
        "weights": {
            "then": compared.weights[0],
            "now": compared.weights[1],
            "largest_difference": compared.weight,
        },
        "metrics": {
            "compared": compared.metrics,
            "changed": {
                name: {"then": then, "now": now}
                for name, (then, now) in compared.changed_metrics.items()
            },
        },
        "predictions": {
            split: {
                "examples": changes.rows,
                "same_examples": changes.same_examples,
                "changed": changes.predictions,
                "largest_difference": changes.probability,
            }
            for split, changes in compared.splits.items()
        },
    }


def _print_json(record: Mapping[str, Any]) -> None:
    print(json.dumps(record, indent=2, ensure_ascii=False))


def _tell(line: str) -> None:
    print(f"textmill: {line}", file=sys.stderr)

"""``textmill gate``: blocks a release that is worse than the last one.

Only what parsing the arguments needs is imported here.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from textmill.arguments import ArgumentParser
from textmill.runs import find_run

if TYPE_CHECKING:
    from textmill.gating import Decision, Standing

_DIGITS = 4


def main(argv: Sequence[str]) -> int:
    """Runs the verb; returns the exit status: 1 if the release is blocked.

    Raises:
        InputError: The run or the released bundle can't be used, or they don't fit together.
    """
    options = _parser().parse_args(argv)
    from textmill.gating import decide_release

    run = find_run(options.run, options.runs_dir)
    decision = decide_release(run, options.against, margin=options.margin)
    _show(decision)
    return int(decision.blocked)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="textmill gate",
        description="Scores the bundle that was released before on the test examples of a run, "
        "and compares the two by the metric that chose the run's checkpoint. Ends with status 1 "
        "if the run is worse: if the 95% interval of the paired bootstrap has nothing but losses "
        "beyond the margin.",
        epilog="examples:\n  textmill gate latest --against released/model\n"
        "  textmill gate latest --against released/model --margin 0.005\n"
        "  textmill gate latest",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "run",
        metavar="RUN",
        help="the run to release: its folder, its name, the beginning of one of these, or 'latest'",
    )
    parser.add_argument(
        "--against",
        metavar="BUNDLE",
        help="the bundle that was released before; without it, this is the first release",
    )
    parser.add_argument(
        "--margin",
        metavar="LOSS",
        type=_loss,
        default=0.0,
        help="the loss that is tolerated, in the unit of the metric (0)",
    )
    parser.add_argument(
        "--runs-dir",
        metavar="FOLDER",
        type=Path,
        default=Path("runs"),
        help="where runs are (runs)",
    )
    return parser


def _loss(text: str) -> float:
    number = float(text)
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return number


def _show(decision: Decision) -> None:
    from textmill.terminal import Align, console, table_of

    columns: dict[str, Align] = {"Metric": "left"}
    columns |= dict.fromkeys(("Released", "New", "Gain", "95% interval"), "right")
    out = console()
    out.print(f"On {decision.examples:,} test examples:")
    out.print(table_of(columns, [_row(standing) for standing in decision.standings]))
    out.print(f"\n{_verdict(decision)}")


def _row(standing: Standing) -> list[str | None]:
    from textmill.model.metric_names import LOWER_IS_BETTER, METRIC_TITLES

    title = METRIC_TITLES.get(standing.metric, standing.metric)
    new = f"{standing.new:.{_DIGITS}f}"
    if standing.released is None or standing.gain is None:
        return [title, None, new, None, None]
    sign = -1 if standing.metric in LOWER_IS_BETTER else 1
    gain = sign * (standing.new - standing.released)
    low, high = standing.gain.low, standing.gain.high
    return [
        title,
        f"{standing.released:.{_DIGITS}f}",
        new,
        _signed(gain),
        f"{_signed(low)} to {_signed(high)}",
    ]


def _signed(value: float) -> str:
    # Adding 0 turns a negative zero, left by rounding, into an ordinary one.
    return f"{round(value, _DIGITS) + 0.0:+.{_DIGITS}f}"


def _verdict(decision: Decision) -> str:
    from textmill.model.metric_names import METRIC_TITLES

    decisive = decision.standings[0]
    title = METRIC_TITLES.get(decisive.metric, decisive.metric)
    if decisive.gain is None:
        return "passed: nothing was released before"
    beyond = f" by more than {decision.margin:g}" if decision.margin else ""
    if decision.blocked:
        return f"BLOCKED: by {title}, the new model is worse{beyond}"
    return f"passed: by {title}, the new model is not shown to be worse{beyond}"

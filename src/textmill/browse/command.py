"""``textmill runs``: finds, shows and compares runs that are there.

Only what parsing the arguments needs is imported here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from textmill.arguments import ArgumentParser, positive
from textmill.errors import InputError
from textmill.runs import Run, find_run, short_path

_RUN_HELP = "a run's folder, its name, the beginning of one of these, or 'latest'"


def main(argv: Sequence[str]) -> int:
    """Runs the verb; returns the exit status.

    Raises:
        InputError: The arguments or a run are not right.
        MachineError: Something can't be written or uploaded.
    """
    options = _parser().parse_args(argv)
    act: Callable[[argparse.Namespace], None] = options.act
    act(options)
    return 0


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="textmill runs",
        description="Lists, shows and compares the runs that there are.",
        epilog="textmill runs COMMAND --help tells more about each.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    _add_list(commands)
    show = _add(
        commands,
        "show",
        _show,
        "tell how a run came out, what it was made from and where its files are",
        "textmill runs show latest",
    )
    show.add_argument("run", metavar="RUN", help=_RUN_HELP)
    show.add_argument("--json", action="store_true", help="print JSON")
    diff = _add(
        commands,
        "diff",
        _diff,
        "tell what differs between two runs in configuration, data and environment",
        "textmill runs diff first second",
    )
    diff.add_argument("first", metavar="A", help=_RUN_HELP)
    diff.add_argument("second", metavar="B", help="another run")
    _add_compare(commands)
    _add_report(commands)
    suspects = _add(
        commands,
        "suspects",
        _suspects,
        "print the labels that are most likely wrong",
        "textmill runs suspects latest --most 50",
    )
    suspects.add_argument("run", metavar="RUN", help=_RUN_HELP)
    suspects.add_argument(
        "--most", metavar="N", type=positive, default=20, help="how many to print (20)"
    )
    sync = _add(
        commands,
        "sync",
        _sync,
        "upload a run that was recorded offline to Weights & Biases",
        "textmill runs sync latest",
    )
    sync.add_argument("run", metavar="RUN", help=_RUN_HELP)
    return parser


_Commands = argparse._SubParsersAction


def _add(
    commands: _Commands[ArgumentParser],
    name: str,
    act: Callable[[argparse.Namespace], None],
    summary: str,
    *examples: str,
) -> ArgumentParser:
    """Adds a command that takes runs, with its help."""
    parser: ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog="examples:\n" + "\n".join(f"  {example}" for example in examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--runs-dir",
        metavar="FOLDER",
        type=Path,
        default=Path("runs"),
        help="where runs are (runs)",
    )
    parser.set_defaults(act=act)
    return parser


def _add_list(commands: _Commands[ArgumentParser]) -> None:
    parser = _add(
        commands,
        "list",
        _list,
        "list runs, the newest last",
        "textmill runs list",
        "textmill runs list --filter data=movie_reviews --sort test/f1_macro",
        "textmill runs list --filter 'test/f1_macro>0.8' --filter state=finished",
        "textmill runs list --filter group=my-search --sort validation/loss",
        "textmill runs list --filter optimizer.lr=1e-4 --metric train/seconds --json",
    )
    parser.add_argument(
        "--filter",
        metavar="CONDITION",
        action="append",
        default=[],
        help="only runs with KEY=VALUE (or !=), for any key of the configuration or state, or with "
        "METRIC>NUMBER (or <, >=, <=); may be given several times",
    )
    parser.add_argument("--sort", metavar="METRIC", help="the best by this metric first")
    parser.add_argument(
        "--metric",
        metavar="METRIC",
        action="append",
        default=[],
        help="show this metric too, by its name in metrics.json; may be given several times",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with all that is known")


def _add_compare(commands: _Commands[ArgumentParser]) -> None:
    parser = _add(
        commands,
        "compare",
        _compare,
        "compare runs that were judged on the same data: metrics, tests, and changed examples",
        "textmill runs compare first second",
        "textmill runs compare first second third --html comparison.html",
    )
    parser.add_argument(
        "runs",
        metavar="RUN",
        nargs="+",
        help=f"{_RUN_HELP}; the first is the one that the others are compared with",
    )
    parser.add_argument("--html", metavar="FILE", type=Path, help="write a page, with the charts")


def _add_report(commands: _Commands[ArgumentParser]) -> None:
    parser = _add(
        commands,
        "report",
        _report,
        "make a run's report.html anew, and print where it is",
        "textmill runs report latest",
        "textmill runs report latest --split validation",
    )
    parser.add_argument("run", metavar="RUN", help=_RUN_HELP)
    parser.add_argument("--split", metavar="SPLIT", help="print the place of this split's part")


def _list(options: argparse.Namespace) -> None:
    from textmill.browse.entries import read_entries
    from textmill.browse.filters import best_first, check_metrics, filtered, parse_filter
    from textmill.browse.listing import runs_json, runs_table
    from textmill.terminal import console

    conditions = [parse_filter(given) for given in options.filter]
    entries = read_entries(options.runs_dir, _warn)
    wanted = [*([options.sort] if options.sort else []), *options.metric]
    check_metrics(entries, wanted, "--sort or --metric")
    chosen = filtered(entries, conditions)
    if options.sort:
        chosen = best_first(chosen, options.sort)
    if options.json:
        console().out(runs_json(chosen), highlight=False)
        return
    console().print(runs_table(chosen, list(dict.fromkeys(wanted))))
    if not chosen:
        _warn(
            f"no run of {len(entries)} in {options.runs_dir} is like that"
            if entries
            else f"there is no run yet in {options.runs_dir}"
        )


def _show(options: argparse.Namespace) -> None:
    from textmill.browse.entries import read_entry
    from textmill.browse.showing import run_json, show_run
    from textmill.terminal import console

    entry = read_entry(_find(options.run, options))
    if options.json:
        console().out(run_json(entry), highlight=False)
    else:
        show_run(entry, console())


def _diff(options: argparse.Namespace) -> None:
    from textmill.browse.differing import show_differences
    from textmill.browse.entries import read_entry
    from textmill.terminal import console

    first, second = (read_entry(_find(one, options)) for one in (options.first, options.second))
    show_differences(first, second, console())


def _compare(options: argparse.Namespace) -> None:
    from textmill.browse.comparing import compare_runs
    from textmill.browse.comparison_page import comparison_page
    from textmill.browse.comparison_text import show_comparison
    from textmill.safe_write import write_text
    from textmill.terminal import console

    if options.html is not None and not options.html.absolute().parent.is_dir():
        raise InputError("there is no such folder", where=str(options.html), hint="make it first")
    comparison = compare_runs([_find(run, options) for run in options.runs])
    show_comparison(comparison, console())
    if options.html is not None:
        write_text(options.html, comparison_page(comparison))
        print(f"textmill: wrote {options.html}", file=sys.stderr)


def _report(options: argparse.Namespace) -> None:
    from textmill.report.writing import write_report

    run = _find(options.run, options)
    part = ""
    if options.split is not None:
        _check_split(run, options.split)
        part = f"#charts-{options.split}"
    print(f"{short_path(write_report(run))}{part}")


def _suspects(options: argparse.Namespace) -> None:
    from textmill.browse.suspecting import show_suspects
    from textmill.terminal import console

    show_suspects(_find(options.run, options), options.most, console())


def _sync(options: argparse.Namespace) -> None:
    from textmill.tracking.syncing import sync_run

    for sentence in sync_run(_find(options.run, options)):
        print(sentence)


def _find(path: str, options: argparse.Namespace) -> Run:
    return find_run(path, options.runs_dir)


def _check_split(run: Run, split: str) -> None:
    """Makes sure that a run has predictions on a split.

    Raises:
        InputError: It has none.
    """
    judged = [name for name in ("test", "validation") if run.predictions(name).exists()]
    if split not in judged:
        raise InputError(
            f"the run was not judged on a split {split!r}",
            where=str(run.folder),
            hint=f"choose {' or '.join(judged)}" if judged else "choose a finished run",
        )


def _warn(line: str) -> None:
    print(f"textmill: warning: {line}", file=sys.stderr)

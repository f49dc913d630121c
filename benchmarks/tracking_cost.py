"""Measures what tracking costs: the default run with everything tracked against ``tracking=none``.

    python -m benchmarks.tracking_cost --pairs 2 --output tracking_cost.json

trains the whole default in pairs, each pair in the opposite order of the one before, through the
real command line, and prints the ratios of their wall times. ``tracking=none`` still records the
training in the run folder; with ``--bare`` it makes no report and explains no mistakes either.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TRACKED = ("tracking=wandb",)
UNTRACKED = ("tracking=none",)
BARE = (*UNTRACKED, "tracking.report=false", "tracking.explained=0")


def main() -> int:
    """Runs all pairs."""
    options = _options()
    untracked = BARE if options.bare else UNTRACKED
    with tempfile.TemporaryDirectory() as name:
        pairs = [
            _pair(
                options.runs or Path(name),
                untracked,
                options.overrides,
                first_tracked=number % 2 == 1,
            )
            for number in range(options.pairs)
        ]
    ratios = [tracked / plain for tracked, plain in pairs]
    for (tracked, plain), ratio in zip(pairs, ratios, strict=True):
        print(f"tracked {tracked:.1f} s, untracked {plain:.1f} s, ratio {ratio:.4f}")
    print(f"median ratio {statistics.median(ratios):.4f}")
    if options.output:
        seconds = [{"tracked": tracked, "untracked": plain} for tracked, plain in pairs]
        options.output.write_text(json.dumps(seconds, indent=2) + "\n", encoding="utf-8")
    return 0


def _pair(
    folder: Path, untracked: tuple[str, ...], overrides: list[str], *, first_tracked: bool
) -> tuple[float, float]:
    """The seconds of a tracked and of an untracked run."""
    if first_tracked:
        tracked = _seconds(folder, (*TRACKED, *overrides))
        return tracked, _seconds(folder, (*untracked, *overrides))
    plain = _seconds(folder, (*untracked, *overrides))
    return _seconds(folder, (*TRACKED, *overrides)), plain


def _seconds(folder: Path, overrides: tuple[str, ...]) -> float:
    command = [sys.executable, "-m", "textmill", "train", *overrides, f"runs_dir={folder}"]
    started = time.monotonic()
    subprocess.run(command, check=True)
    return time.monotonic() - started


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures what tracking costs.")
    parser.add_argument("--pairs", type=int, default=2, help="pairs of runs (2)")
    parser.add_argument("--bare", action="store_true", help="against a run without a report too")
    parser.add_argument("--runs", type=Path, help="folder to keep the runs in")
    parser.add_argument("--output", type=Path, help="file for the seconds, as JSON")
    parser.add_argument("overrides", nargs="*", help="further overrides of both, as seed=7")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

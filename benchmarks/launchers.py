"""Trains the same four runs by each launcher of multiruns, and says how long that takes.

    pip install 'textmill[joblib,submitit]'
    python -m benchmarks.launchers basic joblib submitit_local
    pip install 'textmill[ray]'
    python -m benchmarks.launchers ray

Ray's plugin wants an older cloudpickle than the newest joblib, so that pinned versions of both take
an environment each. The data are made up and the encoder is small and random: what is measured is
the way from one command to four finished runs, the start of processes above all.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GRID = ("optimizer.lr=0.01,0.001", "seed=1,2")
WORDS = {"good": ("great", "lovely", "clever"), "bad": ("awful", "dull", "silly")}
SETTINGS = {
    "model": "scratch",
    "model.scratch": "{layers: 1, width: 32, heads: 2, vocabulary: 300}",
    "data": "files",
    "data.train": "reviews.csv",
    "data.max_length": 32,
    "trainer.max_epochs": 1,
    "baselines.enabled": "false",
    "tracking": "none",
    "tracking.report": "false",
    "tracking.explained": 0,
}


def main() -> int:
    """Runs the launchers asked for, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("launchers", nargs="+", metavar="LAUNCHER")
    for launcher in parser.parse_args().launchers:
        with tempfile.TemporaryDirectory() as folder:
            print(f"{launcher}: {_measure(launcher, Path(folder)):.1f} s", flush=True)
    return 0


def _measure(launcher: str, folder: Path) -> float:
    """Seconds until all four runs are finished."""
    _write_reviews(folder / "reviews.csv")
    settings = (f"{key}={value}" for key, value in SETTINGS.items())
    command = [sys.executable, "-m", "textmill", "train", "-m", *settings, *GRID]
    start = time.monotonic()
    subprocess.run([*command, f"hydra/launcher={launcher}"], cwd=folder, check=True)
    seconds = time.monotonic() - start
    manifests = [json.loads(path.read_text()) for path in folder.glob("runs/2*/*/manifest.json")]
    assert [manifest["state"] for manifest in manifests] == ["finished"] * 4
    return seconds


def _write_reviews(path: Path) -> None:
    lines = ["text,label"]
    for number in range(120):
        label = ("good", "bad")[number % 2]
        lines.append(f"a {WORDS[label][number % 3]} film with the number {number},{label}")
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())

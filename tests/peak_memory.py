"""The real command's peak memory, measured from outside."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

WORDS = (
    "a",
    "the",
    "film",
    "cast",
    "plot",
    "music",
    "end",
    "wonderful",
    "terrible",
    "dull",
    "loved",
)


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run took: its peak resident memory in MiB, and its time in seconds."""

    peak: float
    seconds: float


def write_short_lines(path: Path, rows: int) -> Path:
    """Writes a csv file with one column of 1 to 12 words a row."""
    chance = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        file.write("text\n")
        for _ in range(rows):
            file.write(" ".join(chance.choices(WORDS, k=chance.randint(1, 12))) + "\n")
    return path


def measure_predict(bundle: Path, source: Path, output: Path) -> Measured:
    """Runs ``textmill predict`` on a file, in a process of its own."""
    command = [sys.executable, "-m", "textmill", "predict", bundle, "--input", source]
    # Threads cost a tiny model more than they bring.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = time.monotonic()
    process = subprocess.Popen([*command, "--output", output, "--scores"], env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    # Popen must not wait for the process once more.
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return Measured(usage.ru_maxrss / 1024, time.monotonic() - start)

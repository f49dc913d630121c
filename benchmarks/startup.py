"""Measures how long the command line takes where it trains nothing, against ``import hydra``.

    python -m benchmarks.startup --rounds 5

runs each command as a process of its own, in turn, and prints the shortest time of each in seconds
and as a ratio to a process that imports Hydra alone, which all but ``--help`` have to do.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time

TEXTMILL = ("-m", "textmill")
HYDRA = "python -c 'import hydra'"
COMMANDS = {
    HYDRA: ("-c", "import hydra"),
    "textmill --help": (*TEXTMILL, "--help"),
    "textmill train --help": (*TEXTMILL, "train", "--help"),
    "textmill train --cfg job": (*TEXTMILL, "train", "--cfg", "job"),
    "textmill train --cfg job --resolve": (*TEXTMILL, "train", "--cfg", "job", "--resolve"),
    "textmill config": (*TEXTMILL, "config"),
    "textmill config trainer.monitor": (*TEXTMILL, "config", "trainer.monitor"),
    "textmill config schema": (*TEXTMILL, "config", "schema"),
}


def main() -> int:
    """Runs all rounds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="times that each is run; default 5")
    times = measure_startup(parser.parse_args().rounds)
    alone = min(times[HYDRA])
    for name, measured in times.items():
        print(f"{name:<36} {min(measured):6.3f} s  {min(measured) / alone:5.2f}")
    return 0


def measure_startup(rounds: int) -> dict[str, list[float]]:
    """Seconds by command, one for each round."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for name, command in COMMANDS.items():
                times[name].append(_seconds(command, folder))
    return times


def _seconds(command: tuple[str, ...], folder: str) -> float:
    """The time of one process, from its start to its end."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *command], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())

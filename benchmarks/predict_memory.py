"""Measures that ``textmill predict`` needs the same memory for a short file and a long one.

    python -m benchmarks.predict_memory

makes a tiny bundle, scores ten thousand and one million short lines through the real command, and
prints the peak memory and the speed of both.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from pathlib import Path

from tests.peak_memory import measure_predict, write_short_lines

SHORT, LONG = 10_000, 1_000_000


def main() -> None:
    """Runs both measurements."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # In another process: the peak that Linux reports for a child begins with its parent's.
        maker = multiprocessing.get_context("spawn").Process(target=make_bundle, args=(folder,))
        maker.start()
        maker.join()
        peaks = []
        for rows in (SHORT, LONG):
            source = write_short_lines(folder / f"{rows}.csv", rows)
            found = measure_predict(folder / "bundle", source, folder / f"{rows}.out.csv")
            peaks.append(found.peak)
            print(
                f"{rows:>9,} lines: peak {found.peak:,.0f} MiB, {found.seconds:.1f} s, "
                f"{rows / found.seconds:,.0f} lines/s"
            )
        print(f"ratio of the peaks: {peaks[1] / peaks[0]:.3f}")


def make_bundle(folder: Path) -> None:
    """Writes the tiny encoder and a bundle around it."""
    from tests import bundles
    from tests.tiny import write_tiny_encoder

    bundles.make_bundle(write_tiny_encoder(folder / "encoder"), folder / "bundle")


if __name__ == "__main__":
    main()

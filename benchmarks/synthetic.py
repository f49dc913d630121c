"""Makes labelled text of any size, to see what grows with it.

    python -m benchmarks.synthetic million.csv 1000000

writes a file with the columns ``text`` and ``label``, as Parquet where its name says so. Texts are
six to sixteen common words, and a label can be learned from a text's words, nineteen times in
twenty. The same rows and seed give the same file; memory does not grow with the rows.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

LABELS = ("negative", "positive")
SHORTEST, LONGEST = 6, 16
NOISE = 0.05
ROWS_AT_ONCE = 50_000
_COMMON = """
the of and to a in that it is was I for on you he be with as by at have are this not but had
his they from she which or we an there her were one do been all their has would will what if
can when so said who more about up them some could him into its then two out time like my did
only me your now other than just how over first also after people any where most should very
much way these years well our down new because think day too long make still own little good
see old work right such life while here between might never another place where world house
film story actor scene music plot end light night water hand book school friend family money
great bad clever dull lovely awful brave silly warm cold quiet loud quick slow rich plain
watched wrote played found lost kept began ended loved hated enjoyed missed wanted needed
knew felt ran stood fell spoke read bought sold built broke learned taught opened closed
simple strange funny honest careful beautiful terrible perfect boring gentle bitter bright
"""
WORDS = tuple(dict.fromkeys(_COMMON.split()))


def main() -> int:
    """Writes the file that is asked for."""
    parser = argparse.ArgumentParser(description="Makes labelled text of any size.")
    parser.add_argument("path", type=Path, help="the file, .csv or .parquet")
    parser.add_argument("rows", type=int, help="how many rows it has")
    parser.add_argument("--seed", type=int, default=0, help="of the texts and labels (0)")
    options = parser.parse_args()
    write_rows(options.path, options.rows, seed=options.seed)
    return 0


def write_rows(path: Path, rows: int, *, seed: int) -> None:
    """Writes labelled texts, as CSV, or as Parquet where the name ends in ``.parquet``.

    Args:
        path: The file.
        rows: How many rows it gets.
        seed: Of the texts and labels.
    """
    schema = pa.schema([("text", pa.string()), ("label", pa.string())])
    kind = pyarrow.parquet.ParquetWriter if path.suffix == ".parquet" else pyarrow.csv.CSVWriter
    with kind(path, schema) as writer:
        for table in _tables(rows, np.random.default_rng(seed)):
            writer.write_table(table)


def _tables(rows: int, generator: np.random.Generator) -> Iterator[pa.Table]:
    leanings = generator.normal(size=len(WORDS))
    # As in language, though less steeply, so that hardly two texts are the same.
    shares = 1 / (np.arange(len(WORDS)) + 10)
    words = pa.array(WORDS)
    for start in range(0, rows, ROWS_AT_ONCE):
        lengths = generator.integers(SHORTEST, LONGEST + 1, min(ROWS_AT_ONCE, rows - start))
        ends = np.cumsum(lengths)
        chosen = generator.choice(len(WORDS), ends[-1], p=shares / shares.sum())
        offsets = pa.array(np.append(0, ends).astype(np.int32))
        lists = pa.ListArray.from_arrays(offsets, words.take(pa.array(chosen)))
        leaning = np.add.reduceat(leanings[chosen], ends - lengths)
        positive = (leaning > 0) ^ (generator.random(len(lengths)) < NOISE)
        labels = pa.array(LABELS).take(pa.array(positive.astype(np.int64)))
        yield pa.table({"text": pc.binary_join(lists, " "), "label": labels})


if __name__ == "__main__":
    sys.exit(main())

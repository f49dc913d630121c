"""What the YAML files may work out from other keys: ``${NAME:ARGUMENT,...}``.

A resolver that is given nonsense says so in one line, which `textmill.configuration.explanations`
puts behind the key that asked for it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import PurePath

from omegaconf import OmegaConf

# Behind the last of these, a data file's name has nothing that tells it from others.
DATA_ENDINGS = (".gz", ".csv", ".tsv", ".txt", ".jsonl", ".json", ".parquet")
LONGEST_STEM = 40
NO_STEM = "files"


def register_resolvers() -> None:
    """Makes the resolvers known to OmegaConf; again and again if need be."""
    resolvers: dict[str, Callable[..., object]] = {
        "smallest": smallest,
        "part": part,
        "stem": stem,
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)


def smallest(*numbers: object) -> int | float | None:
    """``${smallest:A,B,...}``: the smallest of the numbers that are given; null where none is.

    Raises:
        ValueError: One is not a number.
    """
    return min((_number(each) for each in numbers if each is not None), default=None)


def part(share: object, whole: object) -> int | None:
    """``${part:SHARE,WHOLE}``: the share of the whole, rounded up; null where the whole is.

    Raises:
        ValueError: One is not a number.
    """
    return None if whole is None else math.ceil(_number(share) * _number(whole))


def stem(*names: object) -> str:
    """``${stem:FILES,...}``: a short name for data, from the first of the names that is given.

    That of a file is what stands before its ending, that of a folder its own, that of a glob what
    stands before its first wildcard, that of a list the first's and how many more there are, as in
    ``reviews+2``. What can't be in a run's name becomes ``_``; what is left without one is called
    ``files``.

    Raises:
        ValueError: One is neither a name nor a list of names.
    """
    given = next((each for each in names if each is not None), NO_STEM)
    if isinstance(given, str | int):
        return _stem(str(given))
    if not isinstance(given, Sequence) or not given:
        raise ValueError(f"{given!r} is not a file, a glob, a folder or a list of these")
    more = len(given) - 1
    return _stem(str(given[0])) + (f"+{more}" if more else "")


def _stem(name: str) -> str:
    before_wildcard = re.split(r"[*?\[]", name, maxsplit=1)[0]
    # A glob of all files in a folder is named by the folder.
    path = PurePath(before_wildcard.rstrip("/\\") or before_wildcard)
    kept = path.name
    while kept.lower().endswith(DATA_ENDINGS):
        kept = PurePath(kept).stem if PurePath(kept).suffix else ""
    legal = re.sub(r"[^\w.+-]+", "_", kept)[:LONGEST_STEM].strip("_.+-")
    return legal or NO_STEM


def _number(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is not a number")
    return value

"""Rows from a data set of the Hugging Face hub, or a local copy of one."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import httpx2
from datasets.exceptions import DatasetNotFoundError, DatasetsError

from textmill.data.rows import SPLITS, Row, UnreadableRow
from textmill.errors import InputError, MachineError, did_you_mean

_BATCH = 1000  # rows in memory at a time

_Convert = Callable[[Any], object]


class HubSource:
    """Labelled text in a data set of the hub, fetched into the cache of `datasets`.

    The values of ``ClassLabel`` columns are given as the labels' names, and None where the label
    is withheld.

    Args:
        repo: The data set's name on the hub, such as ``stanfordnlp/sst2``.
        splits: For ``train``, ``validation`` and ``test`` the name that the data set has for it.
        config: The configuration in the data set, if it has several.
        revision: A commit or tag of the data set; None takes the newest.
        path: A folder with a copy of the data set: its files as on the hub, or as written by
            ``save_to_disk``.

    Raises:
        InputError: There is no such data set, configuration or split.
        MachineError: The hub can't be reached, and the data set is not in the cache.
    """

    def __init__(
        self,
        repo: str,
        splits: Mapping[str, str],
        *,
        config: str | None = None,
        revision: str | None = None,
        path: Path | None = None,
    ) -> None:
        self._repo = repo
        self._config = config
        self._path = path
        loaded = _load(repo, config, revision, path, list(splits.values()))
        self._splits = dict(zip(splits, loaded, strict=True))

    def splits(self) -> tuple[str, ...]:
        """The splits that were asked for."""
        return tuple(split for split in SPLITS if split in self._splits)

    def columns(self, split: str) -> tuple[str, ...]:
        """The data set's features."""
        return tuple(self._splits[split].column_names)

    def rows(self, split: str) -> Iterator[Row | UnreadableRow]:
        """A split's rows, read from memory-mapped Arrow files."""
        dataset = self._splits[split]
        converted = _conversions(dataset.features)
        number = 0
        for table in dataset.with_format("arrow").iter(batch_size=_BATCH):
            for values in table.to_pylist():
                number += 1
                for column, convert in converted.items():
                    values[column] = convert(values[column])
                yield Row(f"{split} row {number}", values)

    def fingerprint(self) -> str:
        """A SHA-256 over the splits' features and contents."""
        digest = hashlib.sha256()
        for split in self.splits():
            dataset = self._splits[split]
            features = json.dumps(dataset.features.to_dict(), sort_keys=True, default=str)
            digest.update(f"\n{split} {features}".encode())
            for table in dataset.with_format("arrow").iter(batch_size=_BATCH):
                batch = table.replace_schema_metadata(None).combine_chunks().to_batches()[0]
                digest.update(batch.serialize())
        return digest.hexdigest()

    def describe(self) -> str:
        """The data set's name on the hub, with the configuration, or the local copy's folder."""
        if self._path is not None:
            return str(self._path)
        return self._repo if self._config is None else f"{self._repo} ({self._config})"


def _load(
    name: str, config: str | None, revision: str | None, path: Path | None, splits: Sequence[str]
) -> list[Any]:
    """The wanted splits, as `datasets.Dataset`."""
    hint = "set data.path=FOLDER to a copy of it, or HF_HUB_OFFLINE=1 if it is in the cache"
    try:
        if path is None:
            loaded = datasets.load_dataset(name, config, revision=revision, split=list(splits))
        else:
            loaded = _load_copy(path, config, splits)
    except DatasetNotFoundError as error:
        hint = f"correct the name, log in with hf auth login if it is gated, or {hint}"
        raise InputError("the hub has no such data set", where=name, hint=hint) from error
    except (DatasetsError, FileNotFoundError, ValueError, RuntimeError, KeyError) as error:
        # A wrong split or configuration, or files that can't be read: `datasets` says which.
        _refuse_full_disk(error)
        what = f"the data set can't be read ({_reason(error)})"
        hint = "correct the split or configuration, or set data.path=FOLDER to a copy of it"
        raise InputError(what, where=name, hint=hint) from error
    except (OSError, httpx2.HTTPError) as error:
        _refuse_full_disk(error)
        what = f"the data set can't be fetched ({_reason(error)})"
        raise MachineError(what, where=name, hint=hint) from error
    return list(loaded)


def _load_copy(path: Path, config: str | None, splits: Sequence[str]) -> list[Any]:
    if not path.is_dir():
        raise InputError("there is no such folder", where=str(path), hint="correct data.path")
    if (path / "dataset_dict.json").exists():
        saved = datasets.load_from_disk(str(path))
        unknown = [split for split in splits if split not in saved]
        if unknown:
            hint = did_you_mean(unknown[0], saved)
            raise InputError(f"there is no split {unknown[0]!r}", where=str(path), hint=hint)
        return [saved[split] for split in splits]
    known = datasets.get_dataset_config_names(str(path))
    config = config if config in known else None
    return list(datasets.load_dataset(str(path), config, split=list(splits)))


def _refuse_full_disk(error: BaseException | None) -> None:
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            where = str(datasets.config.HF_DATASETS_CACHE)
            hint = "free some space, or set HF_HOME to a folder with more"
            raise MachineError("the disk is full", where=where, hint=hint) from error
        error = error.__cause__ or error.__context__


def _reason(error: BaseException) -> str:
    """What went wrong first, in one line."""
    first = error
    while first.__cause__ is not None:
        first = first.__cause__
    return next(iter(str(first).splitlines()), "") or type(first).__name__


def _conversions(features: Mapping[str, object]) -> dict[str, _Convert]:
    """What turns label ids into names, for each column that has any."""
    conversions: dict[str, _Convert] = {}
    for column, feature in features.items():
        if isinstance(feature, datasets.ClassLabel):
            conversions[column] = _Namer(feature.names)
        elif isinstance(inner := getattr(feature, "feature", None), datasets.ClassLabel):
            conversions[column] = partial(_name_all, _Namer(inner.names))
    return conversions


class _Namer:
    """Gives a label's name for its id."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = (*names, None)  # -1 is what the hub's data sets have for a withheld label

    def __call__(self, label: int | None) -> str | None:
        return None if label is None else self._names[label]


def _name_all(namer: _Namer, labels: Sequence[int] | None) -> list[str | None] | None:
    return None if labels is None else [namer(label) for label in labels]

"""The checks that compare rows with each other: repeats, leaks, labels that only some have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set

import numpy as np

from textmill.data.checks import Action, Findings, Kind
from textmill.data.duplicates import NO_GROUP, Codes, Digests, Mask, conflicting, repeated
from textmill.data.label_rules import LabelReader, ordered
from textmill.data.rows import SPLITS
from textmill.data.staging import StagedSplit

Staged = Mapping[str, StagedSplit]

_REPEATS: dict[Kind, Callable[[Digests, Codes], Mask]] = {
    "conflicting_duplicate": conflicting,
    "duplicate": repeated,
}


def check_repeats(staged: Staged, findings: Findings) -> None:
    """Finds texts that stand twice in a split, with different labels or with the same one."""
    for rows in staged.values():
        for kind, find in _REPEATS.items():
            mask = np.zeros(len(rows.kept), dtype=bool)
            mask[rows.kept] = find(rows.texts[rows.kept], rows.codes[rows.kept])
            report(rows, kind, mask, findings)


def check_leaks(staged: Staged, findings: Findings) -> None:
    """Finds texts and groups of train and validation that are also in a split judged by them."""
    for split in ("validation", "train"):
        if split not in staged:
            continue
        rows = staged[split]
        masks = {
            later: _in_both(rows, staged[later])
            for later in SPLITS[SPLITS.index(split) + 1 :]
            if later in staged
        }
        leaked = np.logical_or.reduce([np.zeros(len(rows.kept), bool), *masks.values()])
        into = ", ".join(later for later, mask in masks.items() if mask.any())
        report(rows, "leak", leaked, findings, detail=into)


def _in_both(rows: StagedSplit, others: StagedSplit) -> Mask:
    """Which rows share their text or their group with one of the others."""
    mask = np.isin(rows.texts, others.texts[others.kept])
    if rows.groups is not None and others.groups is not None:
        mask |= (rows.groups != NO_GROUP) & np.isin(rows.groups, others.groups[others.kept])
    return mask & rows.kept


def check_unseen_labels(staged: Staged, reader: LabelReader, findings: Findings) -> None:
    """Finds labels that train does not have, where train decides what the labels are."""
    if reader.declared is not None or "train" not in staged:
        return
    seen = _names_in([staged["train"]], reader)
    for split in ("validation", "test"):
        if split in staged:
            unseen = _names_in([staged[split]], reader) - seen
            mask = rows_with(staged[split], reader, unseen)
            detail = ", ".join(ordered(unseen))
            report(staged[split], "label_only_in_test", mask, findings, detail=detail)


def label_names(staged: Staged, reader: LabelReader) -> tuple[str, ...]:
    """The labels in the order of their ids: as declared, or those of the rows kept, sorted."""
    if reader.declared is not None:
        return reader.declared
    return ordered(_names_in(list(staged.values()), reader))


def label_ids(reader: LabelReader, names: Sequence[str]) -> list[tuple[int, ...]]:
    """The label ids of each label code; names that no kept row has are left out."""
    index = {name: position for position, name in enumerate(names)}
    return [tuple(sorted(index[name] for name in set_ if name in index)) for set_ in reader.sets]


def report(
    rows: StagedSplit, kind: Kind, mask: Mask, findings: Findings, *, detail: str = ""
) -> Action | None:
    """Counts the rows of ``mask``, and leaves them out if that is the policy."""
    if not mask.any():
        return None
    place, text = rows.example(int(mask.argmax()))
    count = int(mask.sum())
    action = findings.add(kind, rows.split, place, text, count=count, detail=detail)
    if action == "drop":
        rows.kept &= ~mask
    return action


def rows_with(rows: StagedSplit, reader: LabelReader, names: Set[str]) -> Mask:
    """Which kept rows have one of these labels."""
    wanted = np.array([not names.isdisjoint(labels) for labels in reader.sets], dtype=bool)
    return wanted[rows.codes] & rows.kept


def _names_in(splits: Iterable[StagedSplit], reader: LabelReader) -> set[str]:
    codes = {code for rows in splits for code in np.unique(rows.codes[rows.kept]).tolist()}
    return {name for code in codes for name in reader.sets[code]}

"""Making the splits that a source lacks out of its training rows.

Rows with the same text or the same group can't be told apart by a fair test, so they move as one
*unit*. Units are ordered by a digest of their text and the seed, never by where they stand, so the
same rows give the same splits in any order and on any machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse import csgraph

from textmill.data.duplicates import NO_GROUP, Codes, Digests
from textmill.errors import InputError

Numbers = npt.NDArray[np.floating]

_DONORS = 1_000


@dataclass(frozen=True, slots=True)
class MadeSplits:
    """The sizes of splits that have to be made.

    Args:
        validation: Share of the training rows, from 0 (none is made) to below 1.
        test: The same.
        seed: Of the choice of rows.

    Raises:
        InputError: A share is out of range, or nothing would be left to train on.
    """

    validation: float = 0.1
    test: float = 0.1
    seed: int = 42

    def __post_init__(self) -> None:
        """Checks the shares."""
        for split in ("validation", "test"):
            if not 0 <= self.share(split) < 1:
                raise InputError(
                    f"the share {self.share(split):g} is not from 0 to below 1",
                    where=f"data.split.{split}",
                    hint=f"set data.split.{split}=0.1",
                )
        if self.validation + self.test >= 1:
            raise InputError(
                "the shares of validation and test leave nothing to train on",
                where="data.split",
                hint="set data.split.validation=0.1 data.split.test=0.1",
            )

    def share(self, split: str) -> float:
        """The share of ``validation`` or ``test``."""
        return self.validation if split == "validation" else self.test


@dataclass(frozen=True, slots=True)
class LabelledUnits:
    """Rows that move as one, and the labels among them.

    Args:
        of_row: ``[rows]``, the unit of each row.
        keys: ``[units]``, a digest for each unit that depends on its rows alone.
        sizes: ``[units]``, how many rows each has.
        labels: ``[units, labels]``, whether a unit has a row with that label.
    """

    of_row: Codes
    keys: Digests
    sizes: Codes
    labels: sparse.csr_matrix

    @classmethod
    def of(
        cls,
        texts: Digests,
        groups: Digests | None,
        codes: Codes,
        label_ids: Sequence[Sequence[int]],
        label_count: int,
    ) -> LabelledUnits:
        """Joins rows by text and group.

        Args:
            texts: ``[rows]``, digests of the texts.
            groups: ``[rows]``, digests of the groups, or `NO_GROUP` where a row has none.
            codes: ``[rows]``, positions in ``label_ids``.
            label_ids: The label ids of each code.
            label_count: How many labels there are.
        """
        of_row, keys = _joined_rows(texts, groups)
        by_code = sparse.csr_matrix(
            (
                np.ones(sum(map(len, label_ids)), dtype=bool),
                np.array([label for labels in label_ids for label in labels], dtype=np.int64),
                np.cumsum([0, *map(len, label_ids)]),
            ),
            shape=(len(label_ids), label_count),
        )
        pairs = np.unique(of_row * len(label_ids) + codes)
        unit_codes = sparse.csr_matrix(
            (np.ones(len(pairs), dtype=bool), np.divmod(pairs, len(label_ids))),
            shape=(len(keys), len(label_ids)),
        )
        sizes = np.bincount(of_row, minlength=len(keys))
        return cls(of_row, keys, sizes, (unit_codes @ by_code).tocsr())

    def label_totals(self) -> Codes:
        """``[labels]``, in how many units each label is."""
        return np.bincount(self.labels.indices, minlength=self.labels.shape[1])


def _joined_rows(texts: Digests, groups: Digests | None) -> tuple[Codes, Digests]:
    """Each row's unit, and each unit's smallest text digest."""
    keys, text_of_row = np.unique(texts, return_inverse=True)
    if groups is None:
        return text_of_row, keys
    grouped = groups != NO_GROUP
    names, group_of_row = np.unique(groups[grouped], return_inverse=True)
    nodes = len(keys) + len(names)
    edges = (text_of_row[grouped], len(keys) + group_of_row)
    graph = sparse.coo_matrix((np.ones(len(edges[0]), dtype=bool), edges), shape=(nodes, nodes))
    unit_of_text = csgraph.connected_components(graph, directed=False)[1][: len(keys)]
    first_texts, unit_of_text = np.unique(unit_of_text, return_index=True, return_inverse=True)[1:]
    return unit_of_text[text_of_row], keys[first_texts]


def assign_splits(
    units: LabelledUnits, shares: Mapping[str, float], seed: int
) -> tuple[Codes, list[int]]:
    """Shares units out by their rarest label, so that each split has the same mix of labels.

    A label in as many units as there are splits is in each split, wherever the labels' overlap
    allows it. (The rarest label first is the idea of Sechidis et al., On the Stratification of
    Multi-label Data, 2011.)

    Args:
        units: The rows that move as one.
        shares: The splits to make, each with its share of the rows.
        seed: Of the order in which units are taken.

    Returns:
        ``[rows]``, 0 for train and the position from 1 in ``shares`` for a made split; and the ids
        of the labels that are missing from one of the splits.
    """
    split_of_unit = _shared_out(units, list(shares.values()), seed)
    splits = len(shares) + 1
    _repair(units, split_of_unit, splits)
    return split_of_unit[units.of_row], _missing_labels(units, split_of_unit, splits)


def keep_splits(units: LabelledUnits, before: Codes, splits: int) -> tuple[Codes, list[int]]:
    """Leaves rows in the splits that they had before some of their labels were corrected.

    Args:
        units: The rows that move as one, as they are labelled now.
        before: ``[rows]``, the split that each row had; -1 for a row that was left out, which
            goes where its unit is, or to train.
        splits: How many there are.

    Returns:
        As `assign_splits`.
    """
    split_of_unit = np.zeros(len(units.keys), dtype=np.int64)
    np.maximum.at(split_of_unit, units.of_row, before)
    split_of_row = np.where(before < 0, split_of_unit[units.of_row], before)
    return split_of_row, _missing_labels(units, split_of_unit, splits)


def _missing_labels(units: LabelledUnits, split_of_unit: Codes, splits: int) -> list[int]:
    """The ids of the labels that are missing from one of the splits."""
    present = _label_counts(units, split_of_unit, splits)
    rare = (present == 0).any(axis=0) & (units.label_totals() > 0)
    found: list[int] = np.flatnonzero(rare).tolist()
    return found


def _shared_out(units: LabelledUnits, shares: Sequence[float], seed: int) -> Codes:
    """``[units]``, the split of each unit."""
    stratum = _rarest_label(units)
    order = np.lexsort((_shuffled(units.keys, seed), stratum))
    sizes, stratum = units.sizes[order], stratum[order]
    starts = np.flatnonzero(np.r_[True, stratum[1:] != stratum[:-1]])
    lengths = np.diff(np.r_[starts, len(order)])
    position = np.arange(len(order)) - np.repeat(starts, lengths)

    # The first units of a stratum go to one split each, train first; the others fill up what the
    # splits still lack.
    split = np.where(position <= len(shares), position, 0)
    reserved = position <= len(shares)
    of_stratum = np.repeat(np.arange(len(starts)), lengths)
    rows = np.bincount(of_stratum, weights=sizes)
    middle = _running_middle(np.where(reserved, 0, sizes), starts, of_stratum)
    end = np.zeros(len(starts))
    for made, share in enumerate(shares, start=1):
        have = np.bincount(
            of_stratum, weights=sizes * (reserved & (split == made)), minlength=len(starts)
        )
        begin, end = end, end + np.maximum(_rounded(rows * share) - have, 0)
        inside = (middle >= begin[of_stratum]) & (middle < end[of_stratum]) & ~reserved
        split[inside] = made
    split_of_unit = np.empty_like(split)
    split_of_unit[order] = split
    return split_of_unit


def _running_middle(sizes: Codes, starts: Codes, of_stratum: Codes) -> Numbers:
    """Where each unit's middle lies when the units of its stratum are laid in a row."""
    ends = np.cumsum(sizes)
    before = np.r_[0, ends][starts]
    middle: Numbers = ends - sizes / 2 - before[of_stratum]
    return middle


def _rounded(targets: Numbers) -> Numbers:
    """Whole numbers that add up to the rounded sum: the largest remainders are rounded up."""
    whole: Numbers = np.floor(targets)
    missing = round(float(targets.sum() - whole.sum()))
    up = np.argsort(whole - targets, kind="stable")[:missing]
    whole[up] += 1
    return whole


def _rarest_label(units: LabelledUnits) -> Codes:
    """``[units]``, the rank of the label that is in fewest units; the last for no label."""
    totals = units.label_totals()
    rank = np.empty(len(totals), dtype=np.int64)
    rank[np.argsort(totals, kind="stable")] = np.arange(len(totals))
    lengths = np.diff(units.labels.indptr)
    rarest = np.full(len(lengths), len(totals))
    labelled = lengths > 0
    rarest[labelled] = np.minimum.reduceat(
        np.r_[rank[units.labels.indices], len(totals)], units.labels.indptr[:-1][labelled]
    )
    return rarest


def _shuffled(keys: Digests, seed: int) -> Digests:
    """Keys mixed with the seed: the finalizer of SplitMix64 (Steele et al., 2014)."""
    mixed = keys + np.uint64((seed * 0x9E3779B97F4A7C15) % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _label_counts(units: LabelledUnits, split_of_unit: Codes, splits: int) -> Codes:
    """``[splits, labels]``, in how many of a split's units each label is."""
    membership = sparse.csr_matrix(
        (np.ones(len(split_of_unit), dtype=np.int64), (split_of_unit, np.arange(len(units.keys)))),
        shape=(splits, len(units.keys)),
    )
    return np.asarray((membership @ units.labels.astype(np.int64)).todense())


def _repair(units: LabelledUnits, split_of_unit: Codes, splits: int) -> None:
    """Moves a unit into each split that lacks a label, where no other split loses one by it."""
    counts = _label_counts(units, split_of_unit, splits)
    by_label = units.labels.tocsc()
    totals = units.label_totals()
    for label in np.argsort(totals, kind="stable"):
        if totals[label] < splits:
            continue
        for split in np.flatnonzero(counts[:, label] == 0):
            members = by_label.indices[by_label.indptr[label] : by_label.indptr[label + 1]]
            for unit in _donors(units, members, split_of_unit, counts):
                present = units.labels[unit].indices
                counts[split_of_unit[unit], present] -= 1
                counts[split, present] += 1
                split_of_unit[unit] = split
                break


def _donors(
    units: LabelledUnits, members: Codes, split_of_unit: Codes, counts: np.ndarray
) -> Iterator[int]:
    """Those of ``members`` whose split keeps each of their labels without them, smallest first."""
    order = np.lexsort((units.keys[members], units.sizes[members], split_of_unit[members]))
    for unit in members[order][:_DONORS]:
        present = units.labels[unit].indices
        if (counts[split_of_unit[unit], present] > 1).all():
            yield int(unit)

"""From a source of raw rows to checked examples in splits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass, replace
from pathlib import Path

import numpy as np

from textmill.cache import cache_folder, locked
from textmill.data.checks import Findings, Policies
from textmill.data.columns import Columns, FoundColumns, find_columns
from textmill.data.comparing import (
    check_leaks,
    check_repeats,
    check_unseen_labels,
    label_ids,
    label_names,
    report,
    rows_with,
)
from textmill.data.corrections import Corrected, Corrections, correct
from textmill.data.duplicates import Codes, Mask
from textmill.data.examples import Examples, read_examples, split_file, write_report
from textmill.data.label_rules import LabelReader, LabelRule, ordered
from textmill.data.rows import SPLITS, Source
from textmill.data.splits import LabelledUnits, MadeSplits, assign_splits, keep_splits
from textmill.data.staging import StagedSplit, stage_split, write_split
from textmill.errors import InputError, MachineError
from textmill.labels import Labels
from textmill.safe_write import replace_folder

__all__ = ["Columns", "Examples", "LabelRule", "MadeSplits", "Policies", "load_examples"]

# Part of the cache's key: to be raised when the same source and settings give other examples.
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class _Plan:
    """Which splits are read, made and given back.

    Args:
        read: The source's splits that are read.
        make: The splits made from train, each with its share of the rows.
        needed: The splits given back.
        whole: The source's only split, where it is judged as the whole test split.
    """

    read: tuple[str, ...]
    make: Mapping[str, float]
    needed: tuple[str, ...]
    whole: str | None = None

    def origin(self, split: str) -> str:
        """The source's split that a split's rows come from."""
        return "train" if split in self.make else self.whole or split


@dataclass(frozen=True, slots=True)
class _Settings:
    """What, beside the source, decides about the examples."""

    columns: Columns
    rule: LabelRule
    policies: Policies
    made_splits: MadeSplits | None
    labels: Labels | None
    corrections: Corrections | None
    plan: _Plan


def load_examples(
    source: Source,
    columns: Columns,
    label_rule: LabelRule,
    policies: Policies,
    made_splits: MadeSplits | None,
    *,
    needed: Sequence[str] = SPLITS,
    labels: Labels | None = None,
    corrections: Corrections | None = None,
    cache: Path | None = None,
) -> Examples:
    """Reads a source, checks every row, and makes the splits that are missing.

    With a warm cache no row is read.

    Args:
        source: The raw rows.
        columns: Which columns hold text, label and group.
        label_rule: How labels are read.
        policies: What to do about each kind of problem.
        made_splits: How missing splits are made from train. With None, none is made, and if only
            ``test`` is needed and the source has a single split, the whole of it is the test split.
        needed: The splits to give back. Which rows a split has does not depend on this.
        labels: The labels of a finished classifier, if the examples are to be judged by it;
            others are unknown labels.
        corrections: Labels that people have corrected. They don't move a row to another split: the
            splits are made by the labels that the source has.
        cache: The folder for the examples; None is ``examples`` in Textmill's cache folder.

    Raises:
        InputError: The source lacks a column or a split, or rows have problems whose policy is
            ``error``; all of them are told at once.
        MachineError: The cache can't be written.
    """
    plan = _plan(source, tuple(needed), made_splits)
    found = find_columns(source, plan.read, columns)
    rule = label_rule if labels is None else label_rule.within(labels)
    settings = _Settings(columns, rule, policies, made_splits, labels, corrections, plan)
    folder = (cache or cache_folder() / "examples") / _key(source, settings)
    examples = read_examples(folder)
    if examples is None:
        with locked(folder):
            examples = read_examples(folder) or _fill(folder, source, found, settings)
    return examples


def _fill(
    folder: Path, source: Source, columns: Mapping[str, FoundColumns], settings: _Settings
) -> Examples:
    """Does the work, and puts its result in the place of ``folder``."""
    with replace_folder(folder) as fresh:
        _write_examples(fresh, source, columns, settings)
    examples = read_examples(folder)
    if examples is None:
        hint = "check the disk, and run the command again"
        raise MachineError("the checked examples can't be read back", where=str(folder), hint=hint)
    return examples


def _plan(source: Source, needed: tuple[str, ...], made: MadeSplits | None) -> _Plan:
    """Decides which splits are read and which are made.

    Raises:
        InputError: A needed split is neither there nor made.
    """
    has = source.splits()
    if needed == ("test",) and "test" in has:
        return _Plan(read=needed, make={}, needed=needed)
    if needed == ("test",) and made is None and len(has) == 1:
        return _Plan(read=has, make={}, needed=needed, whole=has[0])
    make = {} if made is None or "train" not in has else _missing_shares(has, made)
    absent = [split for split in needed if split not in has and split not in make]
    if absent:
        raise InputError.all_of(_no_split(source, split) for split in absent)
    return _Plan(read=has, make=make, needed=needed)


def _missing_shares(has: tuple[str, ...], made: MadeSplits) -> dict[str, float]:
    shares = {split: made.share(split) for split in ("test", "validation") if split not in has}
    return {split: share for split, share in shares.items() if share > 0}


def _no_split(source: Source, split: str) -> InputError:
    hint = f"set data.{split}"
    if split != "train" and "train" in source.splits():
        hint += f", or data.split.{split}=0.1 to make one from train"
    what = f"there is no {split} split (there is {', '.join(source.splits()) or 'none at all'})"
    return InputError(what, where=source.describe(), hint=hint)


def _write_examples(
    folder: Path, source: Source, columns: Mapping[str, FoundColumns], settings: _Settings
) -> None:
    """Reads, checks, shares out and writes; the folder has the examples and their report."""
    plan, labels = settings.plan, settings.labels
    findings = Findings(settings.policies)
    reader = LabelReader(settings.rule, None if labels is None else labels.names)
    staged = {
        split: stage_split(
            source.rows(split), split, columns[split], reader, findings, folder / f"{split}.staged"
        )
        for split in plan.read
    }
    before, corrected = _correct(staged, reader, settings, complete=plan.read == source.splits())
    _check(staged, reader, findings)
    chosen = _choose_rows(staged, reader, settings, findings, before)
    names = label_names(staged, reader)
    too_little = _too_little(chosen, names, findings, settings, source.describe())
    findings.raise_errors(also=[*corrected.errors, *too_little])

    known = Labels(names, settings.rule.multi_label)
    ids = label_ids(reader, names)
    fingerprints = {
        split: write_split(*chosen[split], ids, known, split_file(folder, split))
        for split in plan.needed
    }
    made = _made(chosen, settings)
    write_report(folder, known, findings.problems(), made, fingerprints, corrected.counts)
    for rows in staged.values():
        rows.file.unlink()


def _check(staged: dict[str, StagedSplit], reader: LabelReader, findings: Findings) -> None:
    """Compares the rows with each other; leaves out what is not wanted."""
    check_repeats(staged, findings)
    check_leaks(staged, findings)
    check_unseen_labels(staged, reader, findings)


def _correct(
    staged: dict[str, StagedSplit], reader: LabelReader, settings: _Settings, *, complete: bool
) -> tuple[Codes | None, Corrected]:
    """Corrects labels; tells which of the made splits the rows of train are in without that."""
    if settings.corrections is None:
        return None, Corrected()
    before = None
    made, shares = settings.made_splits, settings.plan.make
    if shares and made is not None:
        untold = Findings(settings.policies)
        as_they_are = {
            split: replace(rows, kept=rows.kept.copy()) for split, rows in staged.items()
        }
        _check(as_they_are, reader, untold)
        before = _made_from_train(as_they_are, reader, shares, made.seed, untold)
    return before, correct(staged, settings.corrections, reader, complete=complete)


Chosen = dict[str, tuple[StagedSplit, Mask]]
"""For each final split the source's split that it comes from, and which of those rows it has."""


def _choose_rows(
    staged: dict[str, StagedSplit],
    reader: LabelReader,
    settings: _Settings,
    findings: Findings,
    before: Codes | None,
) -> Chosen:
    """Which rows each split gets; for ``before``, see `_made_from_train`."""
    plan = settings.plan
    if plan.whole is not None:
        return {"test": (staged[plan.whole], staged[plan.whole].kept)}
    made: Chosen = {}
    if plan.make and settings.made_splits is not None:
        seed = settings.made_splits.seed
        split_of_row = _made_from_train(staged, reader, plan.make, seed, findings, before)
        for position, split in enumerate(("train", *plan.make)):
            made[split] = (staged["train"], split_of_row == position)
    return {split: (rows, rows.kept) for split, rows in staged.items()} | made


def _made_from_train(
    staged: dict[str, StagedSplit],
    reader: LabelReader,
    shares: Mapping[str, float],
    seed: int,
    findings: Findings,
    before: Codes | None = None,
) -> Codes:
    """``[rows]`` of train: 0 for train, from 1 the made splits in turn, -1 for rows left out.

    With ``before``, which is the same of rows that now have other labels, no row that had a split
    gets another one. Leaving out a class that is too rare may make others rare, hence the loop.
    """
    train = staged["train"]
    split_of_row = np.full(len(train.kept), -1)
    while train.kept.any():
        names = label_names(staged, reader)
        units = LabelledUnits.of(
            train.texts[train.kept],
            None if train.groups is None else train.groups[train.kept],
            train.codes[train.kept],
            label_ids(reader, names),
            len(names),
        )
        split_of_row[train.kept], rare = (
            assign_splits(units, shares, seed)
            if before is None
            else keep_splits(units, before[train.kept], len(shares) + 1)
        )
        if not _drops_rare(staged, reader, {names[label] for label in rare}, findings):
            break
        split_of_row[:] = -1
    return split_of_row


def _drops_rare(
    staged: dict[str, StagedSplit], reader: LabelReader, rare: set[str], findings: Findings
) -> bool:
    """Counts the rows of rare classes in train; if they are dropped, so are those elsewhere."""
    train, detail = staged["train"], ", ".join(ordered(rare))
    mask = rows_with(train, reader, rare)
    if report(train, "rare_class", mask, findings, detail=detail) != "drop":
        return False
    for split, rows in staged.items():
        if split != "train":
            report(rows, "rare_class", rows_with(rows, reader, rare), findings, detail=detail)
    return True


def _too_little(
    chosen: Chosen,
    names: tuple[str, ...],
    findings: Findings,
    settings: _Settings,
    described: str,
) -> Iterator[InputError]:
    """What is missing to learn or judge anything: rows in a split, a second label.

    That a split has no rows is not told where it follows from what is told already: from errors
    in its rows, or from the split that it is made from having none.
    """
    plan, problems = settings.plan, findings.problems()
    explained = {problem.split for problem in problems if problem.action == "error"}
    empty = [split for split in plan.needed if not chosen[split][1].any()]
    for split in empty:
        if plan.origin(split) in explained or (split in plan.make and "train" in empty):
            continue
        dropped = [f"{p.count:,} {p.kind}" for p in problems if p.action == "drop"]
        left_out = f" after leaving out {', '.join(dropped)}" if dropped else ""
        other = f"data.split.{split}" if split in plan.make else "data.on_problem"
        what = f"the {split} split has no rows{left_out}"
        yield InputError(what, where=described, hint=f"set data.{split} or {other}")
    least = 1 if settings.rule.multi_label else 2
    if not empty and len(names) < least:
        only = f"the only label is {names[0]}" if names else "there are no labels"
        hint = f"at least {least} needed, set data.label=COLUMN"
        yield InputError(only, where=f"column {settings.columns.label}", hint=hint)


def _made(chosen: Chosen, settings: _Settings) -> dict[str, dict[str, object]]:
    """How the splits came about that the source does not have."""
    plan, made = settings.plan, settings.made_splits
    if plan.whole is not None:
        count = int(chosen["test"][1].sum())
        return {"test": {"method": "whole", "source": plan.whole, "count": count}}
    return {
        split: {
            "method": "stratified" if settings.columns.group is None else "stratified, grouped",
            "source": "train",
            "share": share,
            "seed": None if made is None else made.seed,
            "count": int(chosen[split][1].sum()),
        }
        for split, share in plan.make.items()
    }


def _key(source: Source, settings: _Settings) -> str:
    """The cache's name for the source as read with these settings."""
    parts = (_FORMAT, source.describe(), source.fingerprint(), settings)
    text = json.dumps(parts, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object) -> object:
    """Settings as JSON can hold them."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"no plain form for {value!r}")

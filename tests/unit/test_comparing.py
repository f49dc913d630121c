"""The checks against a plain model of them, on small random data sets."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sources import RowsSource, labelled
from textmill.data.checks import Action, Policies
from textmill.data.loading import Columns, Examples, LabelRule, load_examples
from textmill.data.rows import SPLITS
from textmill.errors import InputError

RARE = st.sampled_from(["", None, "only here"])
TEXTS = st.one_of(st.sampled_from(["a", "b", "c", "d"]), RARE)
LABELS = st.one_of(st.sampled_from(["no", "yes"]), st.sampled_from([None, "maybe"]))
ROWS = st.lists(st.tuples(TEXTS, LABELS), max_size=8)

# One row of each label that nothing else touches, so that no split is ever empty.
SURE = {split: labelled((f"{split} 1", "no"), (f"{split} 2", "yes")) for split in SPLITS}

Rows = dict[str, list[tuple[str | None, str | None]]]


def load(rows: Rows, folder: str, policies: Policies) -> Examples:
    return load_examples(
        RowsSource(**{split: [*SURE[split], *labelled(*rows[split])] for split in SPLITS}),
        Columns(("text",), "label"),
        LabelRule(names=("no", "yes")),
        policies,
        None,
        cache=Path(folder),
    )


def expected(rows: Rows) -> tuple[Rows, dict[tuple[str, str], int]]:
    """What is left of the rows when every problem is dropped, and how many rows each has."""
    counts: dict[tuple[str, str], int] = {}

    def drop(kind: str, split: str, bad: list[bool]) -> None:
        if any(bad):
            counts[kind, split] = sum(bad)
        left[split] = [row for row, is_bad in zip(left[split], bad, strict=True) if not is_bad]

    left = {split: list(rows[split]) for split in SPLITS}
    for split in SPLITS:
        drop("missing_text", split, [text is None for text, _ in left[split]])
        drop("empty_text", split, [text == "" for text, _ in left[split]])
        drop("missing_label", split, [label is None for _, label in left[split]])
        drop("unknown_label", split, [label == "maybe" for _, label in left[split]])
        now = left[split]
        drop(
            "conflicting_duplicate",
            split,
            [any(text == t and label != own for t, own in now) for text, label in now],
        )
        drop("duplicate", split, [row in left[split][:n] for n, row in enumerate(left[split])])
    for split, later in (("validation", ("test",)), ("train", ("validation", "test"))):
        elsewhere = {text for other in later for text, _ in left[other]}
        drop("leak", split, [text in elsewhere for text, _ in left[split]])
    return left, counts


EVERY_KIND: dict[str, Action] = dict.fromkeys(Policies.__dataclass_fields__, "drop")


@given(st.fixed_dictionaries(dict.fromkeys(SPLITS, ROWS)))
@settings(max_examples=80, deadline=None)
def test_what_is_dropped_and_counted_is_what_a_plain_reading_says(rows: Rows) -> None:
    left, counts = expected(rows)
    with TemporaryDirectory() as folder:
        examples = load(rows, folder, Policies(**EVERY_KIND))
        got = {
            split: [
                (row["text"], examples.labels.names[row["label"]])
                for row in examples.splits[split].to_list()[2:]
            ]
            for split in SPLITS
        }
    assert got == left
    assert {(p.kind, p.split): p.count for p in examples.problems} == counts


@given(st.fixed_dictionaries(dict.fromkeys(SPLITS, ROWS)))
@settings(max_examples=40, deadline=None)
def test_an_error_tells_each_kind_once_for_each_split(rows: Rows) -> None:
    errors: dict[str, Action] = dict.fromkeys(EVERY_KIND, "error")
    _, counts = expected(rows)
    told: tuple[str, ...] = ()
    with TemporaryDirectory() as folder:
        try:
            load(rows, folder, Policies(**errors))
        except InputError as error:
            told = error.problems
    assert len(told) == len(set(told))
    assert bool(told) == bool(counts)


@given(st.fixed_dictionaries(dict.fromkeys(SPLITS, ROWS)))
@settings(max_examples=40, deadline=None)
def test_no_text_stays_in_two_splits_by_default(rows: Rows) -> None:
    policies = Policies(missing_label="drop", unknown_label="drop")
    with TemporaryDirectory() as folder:
        examples = load(rows, folder, policies)
        texts = [set(split["text"]) for split in examples.splits.values()]
    assert sum(map(len, texts)) == len(set.union(*texts))


@given(st.fixed_dictionaries(dict.fromkeys(SPLITS, ROWS)))
@settings(max_examples=40, deadline=None)
def test_test_loses_no_row_to_leaks(rows: Rows) -> None:
    policies = Policies(missing_label="drop", unknown_label="drop")
    good = [row for row in rows["test"] if row[0] and row[1] in ("no", "yes")]
    with TemporaryDirectory() as folder:
        assert len(load(rows, folder, policies).splits["test"]) == 2 + len(good)

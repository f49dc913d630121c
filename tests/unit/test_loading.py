from __future__ import annotations

import errno
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.sources import RowsSource, labelled, many
from textmill.data.checks import KINDS, Kind, Policies
from textmill.data.examples import split_file
from textmill.data.loading import Columns, Examples, LabelRule, MadeSplits, load_examples
from textmill.data.rows import UnreadableRow
from textmill.errors import InputError, MachineError
from textmill.labels import Labels

TEXT_AND_LABEL = Columns(("text",), "label")
Rows = Sequence[Mapping[str, object] | UnreadableRow]


def load(source: RowsSource, **settings: Any) -> Examples:  # noqa: ANN401
    return load_examples(
        source,
        settings.pop("columns", TEXT_AND_LABEL),
        settings.pop("rule", LabelRule()),
        settings.pop("policies", Policies()),
        settings.pop("made", MadeSplits()),
        **settings,
    )


def three_splits(train: Rows = (), validation: Rows = (), test: Rows = ()) -> RowsSource:
    """A source with some good rows in each split, and the given ones behind them."""
    return RowsSource(
        train=[*many(10, prefix="train"), *train],
        validation=[*many(4, prefix="validation"), *validation],
        test=[*many(4, prefix="test"), *test],
    )


def problems_of(examples: Examples) -> dict[tuple[str, str], tuple[int, str]]:
    return {(p.kind, p.split): (p.count, p.action) for p in examples.problems}


def lines_of(source: RowsSource, **settings: Any) -> tuple[str, ...]:  # noqa: ANN401
    with pytest.raises(InputError) as caught:
        load(source, **settings)
    return caught.value.problems


def test_missing_splits_are_made_and_recorded() -> None:
    examples = load(RowsSource(train=many(100)))
    assert {split: len(rows) for split, rows in examples.splits.items()} == {
        "train": 80,
        "validation": 10,
        "test": 10,
    }
    assert examples.made["test"] == {
        "method": "stratified",
        "source": "train",
        "share": 0.1,
        "seed": 42,
        "count": 10,
    }
    texts = [text for rows in examples.splits.values() for text in rows["text"]]
    assert sorted(texts) == sorted(str(row["text"]) for row in many(100))


def test_splits_of_the_source_stay_as_they_are() -> None:
    source = RowsSource(train=many(100), test=many(7, prefix="test"))
    examples = load(source)
    assert list(examples.made) == ["validation"]
    assert list(examples.splits["test"]["text"]) == [f"test {number}" for number in range(7)]
    assert len(examples.splits["validation"]) == 10


def test_rows_keep_label_place_and_what_they_are_sliced_by() -> None:
    rows = [{"text": f"t{n}", "label": n % 2, "year": 2000 + n, "note": None} for n in range(20)]
    columns = Columns(("text",), "label", slices=("year", "note"))
    train = load(RowsSource(train=rows), columns=columns).splits["train"]
    assert train.column_names == ["text", "label", "place", "slice/year", "slice/note"]
    first = train[0]
    number = int(first["text"][1:])
    assert first == {
        "text": f"t{number}",
        "label": number % 2,
        "place": f"train.csv:{number + 1}",
        "slice/year": str(2000 + number),
        "slice/note": None,
    }


def test_pairs_have_two_texts() -> None:
    rows = [{"a": f"a{n}", "b": f"b{n}", "label": n % 2} for n in range(30)]
    rows += [{"a": "a0", "b": "b1", "label": 0}]  # no repeat: the pair as a whole is new
    examples = load(RowsSource(train=rows), columns=Columns(("a", "b"), "label"))
    assert examples.splits["train"].column_names == ["text", "text_pair", "label", "place"]
    assert examples.problems == []


@pytest.mark.parametrize(("second", "kind"), [(None, "missing_text"), ("\u2003", "empty_text")])
def test_a_pair_needs_both_its_texts(second: object, kind: Kind) -> None:
    rows: list[dict[str, object]] = [
        {"a": f"a{n}", "b": f"b{n}", "label": n % 2} for n in range(30)
    ]
    rows += [{"a": "alone", "b": second, "label": 0}]
    examples = load(RowsSource(train=rows), columns=Columns(("a", "b"), "label"))
    assert problems_of(examples) == {(kind, "train"): (1, "drop")}


@pytest.mark.parametrize(
    ("text", "label", "message"),
    [
        ((), "label", "0 text columns are given"),
        (("a", "b", "c"), "label", "3 text columns are given"),
        (("a",), None, "no label column is given: set data.label=COLUMN"),
    ],
)
def test_one_or_two_texts_and_a_label_are_needed(
    text: tuple[str, ...], label: str | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Columns(text, label)


def test_several_labels_are_lists_of_ids_and_may_be_none() -> None:
    rows = labelled(*((f"text {n}", [["b"], ["a", "b"], []][n % 3]) for n in range(30)))
    examples = load(RowsSource(train=rows), rule=LabelRule(multi_label=True))
    assert examples.labels == Labels(("a", "b"), multi_label=True)
    by_text = {
        row["text"]: row["label"] for split in examples.splits.values() for row in split.to_list()
    }
    assert [by_text[f"text {n}"] for n in range(3)] == [[1], [0, 1], []]


def test_label_order_is_that_of_train_sorted_or_as_declared() -> None:
    assert load(RowsSource(train=many(60, ("10", "9")))).labels.names == ("9", "10")
    declared = LabelRule(names=("yes", "no"))
    assert load(RowsSource(train=many(60)), rule=declared).labels.names == ("yes", "no")


def test_texts_that_are_numbers_become_text() -> None:
    source = RowsSource(train=labelled(*((n, n % 2) for n in range(30)), (1.5, 0), (True, 1)))
    texts = {text for rows in load(source).splits.values() for text in rows["text"]}
    assert {"0", "1.5", "True"} <= texts


BAD_ROWS: dict[Kind, Rows] = {
    "wrong_width": [UnreadableRow("train.csv:11", "wrong_width", "a,b,c")],
    "undecodable": [UnreadableRow("train.csv:11", "undecodable", "caf�")],
    "malformed": [UnreadableRow("train.csv:11", "malformed", "{")],
    "missing_text": labelled((None, "no")),
    "empty_text": labelled((" \t\n", "no")),
    "missing_label": labelled(("good text", "")),
    "unknown_label": labelled(("good text", "maybe")),
    "duplicate": labelled(("train 0", "no")),
    "conflicting_duplicate": labelled(("train 0", "yes")),
    "leak": labelled(("test 0", "no")),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_each_problem_of_train_is_an_error_that_says_where_and_what_next(kind: Kind) -> None:
    lines = lines_of(
        three_splits(train=BAD_ROWS[kind]),
        rule=LabelRule(names=("no", "yes")),
        policies=Policies(**{kind: "error"}),
    )
    assert len(lines) == 1
    assert " of train " in lines[0]
    assert "in train.csv:" in lines[0]
    assert f"set data.on_problem.{kind}=drop" in lines[0]


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_each_problem_of_train_is_dropped_and_recorded(kind: Kind) -> None:
    examples = load(
        three_splits(train=BAD_ROWS[kind]),
        rule=LabelRule(names=("no", "yes")),
        policies=Policies(**{kind: "drop"}),
    )
    dropped = 2 if kind == "conflicting_duplicate" else 1
    assert problems_of(examples) == {(kind, "train"): (dropped, "drop")}
    assert len(examples.splits["train"]) == 11 - dropped


@pytest.mark.parametrize("kind", ["missing_text", "empty_text", "duplicate", "leak"])
def test_a_problem_that_is_kept_is_recorded_too(kind: Kind) -> None:
    source = three_splits(train=BAD_ROWS[kind])
    examples = load(source, policies=Policies(**{kind: "keep"}))
    assert problems_of(examples) == {(kind, "train"): (1, "keep")}
    assert len(examples.splits["train"]) == 11


def test_the_defaults_drop_what_is_harmless_and_stop_at_the_rest() -> None:
    rows = [row for kind in BAD_ROWS for row in BAD_ROWS[kind]]
    lines = lines_of(three_splits(train=rows), rule=LabelRule(names=("no", "yes")))
    told = [kind for line in lines for kind in KINDS if f"data.on_problem.{kind}=" in line]
    assert told == ["wrong_width", "undecodable", "malformed", "missing_label", "unknown_label"]


def test_problems_of_every_split_are_told_in_one_go() -> None:
    bad = labelled(("x", None))
    lines = lines_of(three_splits(train=bad * 2, test=labelled(("y", ""))))
    assert [line.split(", in ")[0] for line in lines] == [
        "2 rows of train have no label",
        "1 row of test has no label",
    ]


def test_a_label_that_only_test_has_is_an_error_unless_declared() -> None:
    source = three_splits(test=labelled(("new", "maybe"), ("newer", "maybe")))
    (line,) = lines_of(source)
    assert line.startswith("2 rows of test have a label that train does not have (maybe), in test")
    assert load(source, rule=LabelRule(names=("no", "yes", "maybe"))).problems == []


def test_a_label_that_only_test_has_can_be_kept_or_dropped() -> None:
    source = three_splits(test=labelled(("new", "maybe")))
    kept = load(source, policies=Policies(label_only_in_test="keep"))
    assert kept.labels.names == ("maybe", "no", "yes")
    dropped = load(source, policies=Policies(label_only_in_test="drop"))
    assert dropped.labels.names == ("no", "yes")
    assert len(dropped.splits["test"]) == 4


def test_a_class_with_too_few_examples_to_split_is_an_error() -> None:
    source = RowsSource(train=[*many(60), *labelled(("a", "rare"), ("b", "rare"))])
    (line,) = lines_of(source)
    assert line.startswith("2 rows of train are of classes with too few examples")
    assert "(rare)" in line


def test_a_rare_class_can_be_kept_or_dropped() -> None:
    source = RowsSource(train=[*many(60), *labelled(("a", "rare"), ("b", "rare"))])
    kept = load(source, policies=Policies(rare_class="keep"))
    assert kept.labels.names == ("no", "rare", "yes")
    assert kept.labels.label2id["rare"] in kept.splits["train"]["label"]
    dropped = load(source, policies=Policies(rare_class="drop"))
    assert dropped.labels.names == ("no", "yes")
    assert sum(map(len, dropped.splits.values())) == 60


def test_a_rare_class_that_is_dropped_leaves_the_given_splits_too() -> None:
    source = RowsSource(
        train=[*many(60), *labelled(("a", "rare"))],
        test=[*many(4, prefix="test"), *labelled(("b", "rare"))],
    )
    examples = load(source, policies=Policies(rare_class="drop"))
    assert problems_of(examples) == {
        ("rare_class", "train"): (1, "drop"),
        ("rare_class", "test"): (1, "drop"),
    }


def test_classes_are_not_rare_where_nothing_has_to_be_split() -> None:
    source = three_splits(train=labelled(("x", "rare")))
    assert load(source).labels.names == ("no", "rare", "yes")


def test_leaks_are_taken_from_train_before_validation_and_never_from_test() -> None:
    everywhere = labelled(("everywhere", "no"))
    source = three_splits(everywhere, everywhere, everywhere)
    examples = load(source)
    assert problems_of(examples) == {
        ("leak", "train"): (1, "drop"),
        ("leak", "validation"): (1, "drop"),
    }
    having = [split for split, rows in examples.splits.items() if "everywhere" in rows["text"]]
    assert having == ["test"]


def test_a_group_that_is_in_two_given_splits_is_a_leak() -> None:
    def grouped(rows: list[dict[str, object]], group: str) -> Rows:
        return [row | {"user": group} for row in rows]

    source = RowsSource(
        train=[*grouped(many(20), "ann"), *grouped(many(2, prefix="shared"), "bob")],
        test=[*grouped(many(4, prefix="test"), "bob"), {"text": "x", "label": "no", "user": None}],
    )
    columns = Columns(("text",), "label", group="user")
    made = MadeSplits(validation=0)
    examples = load(source, columns=columns, made=made, needed=("train", "test"))
    assert problems_of(examples) == {("leak", "train"): (2, "drop")}


def test_rows_without_a_group_leak_nothing_to_each_other() -> None:
    source = RowsSource(
        train=[row | {"user": None} for row in many(20)],
        test=[row | {"user": ""} for row in many(4, prefix="test")],
    )
    columns = Columns(("text",), "label", group="user")
    assert load(source, columns=columns, made=None, needed=("train", "test")).problems == []


def test_train_keeps_rows_that_only_a_dropped_row_of_validation_is_like() -> None:
    source = RowsSource(
        train=[row | {"user": "ann"} for row in many(10)],
        validation=[
            {"text": "in test too", "label": "no", "user": "ann"},
            *(row | {"user": None} for row in many(4, prefix="validation")),
        ],
        test=[
            {"text": "in test too", "label": "no", "user": None},
            *(row | {"user": None} for row in many(4, prefix="test")),
        ],
    )
    examples = load(source, columns=Columns(("text",), "label", group="user"))
    assert problems_of(examples) == {("leak", "validation"): (1, "drop")}


def test_made_splits_never_part_groups_or_equal_texts() -> None:
    rows = [
        {"text": f"text {n // 2}", "label": n // 2 % 2, "user": f"user {n // 10}"}
        for n in range(200)
    ]
    examples = load(RowsSource(train=rows), columns=Columns(("text",), "label", "user", ("user",)))
    users = [set(rows["slice/user"]) for rows in examples.splits.values()]
    assert sum(map(len, users)) == len(set.union(*users))
    assert examples.made["test"]["method"] == "stratified, grouped"


def test_groups_are_the_same_as_numbers_and_as_text() -> None:
    rows = [{"text": f"text {n}", "label": n % 2, "user": n // 10} for n in range(200)]
    mixed = [row | {"user": f" {row['user']}"} if n % 3 else row for n, row in enumerate(rows)]
    columns = Columns(("text",), "label", "user")
    plain, spelled = (load(RowsSource(train=each), columns=columns) for each in (rows, mixed))
    assert plain.fingerprints == spelled.fingerprints


def test_every_row_without_a_group_is_its_own() -> None:
    rows = [{"text": f"text {n}", "label": n % 2, "user": ""} for n in range(100)]
    examples = load(RowsSource(train=rows), columns=Columns(("text",), "label", "user"))
    assert len(examples.splits["test"]) == 10


def test_the_order_of_the_file_does_not_change_the_splits() -> None:
    forward = load(RowsSource(train=many(100)))
    backward = load(RowsSource(train=many(100)[::-1]))
    for split in forward.splits:
        assert set(forward.splits[split]["text"]) == set(backward.splits[split]["text"])


def test_all_missing_columns_are_told_with_suggestions() -> None:
    lines = lines_of(RowsSource(train=many(10)), columns=Columns(("txt",), "labels", group="user"))
    assert lines[0] == (
        "there is no column txt (the columns are text, label), in rows.csv: "
        "set data.text=COLUMN (did you mean text?)"
    )
    assert "data.label=COLUMN (did you mean label?)" in lines[1]
    assert "data.group=COLUMN (choose one of label, text)" in lines[2]


def test_columns_may_be_numbers_unless_a_column_has_that_name() -> None:
    assert load(RowsSource(train=many(60)), columns=Columns(("0",), "1")).labels.names
    rows = [{"1": f"text {n}", "0": n % 2} for n in range(60)]
    examples = load(RowsSource(train=rows), columns=Columns(("1",), "0"))
    assert examples.labels.names == ("0", "1")
    assert "set data.text" in lines_of(RowsSource(train=rows), columns=Columns(("2",), "0"))[0]


def test_examples_may_be_sliced_by_a_column_of_any_name() -> None:
    rows = [{"a": f"text {n}", "place": n % 2, "text": n % 3} for n in range(60)]
    columns = Columns(("a",), "place", group="text", slices=("text", "place", "2"))
    examples = load(RowsSource(train=rows), columns=columns)
    first = examples.splits["train"][0]
    number = int(first["text"].split()[1])
    assert first["slice/text"] == first["slice/2"] == str(number % 3)
    assert first["slice/place"] == str(number % 2)


def test_columns_that_examples_cannot_be_sliced_by_are_told() -> None:
    columns = Columns(("text",), "label", slices=("lost", "0"))
    lines = lines_of(RowsSource(train=many(60)), columns=columns)
    assert "there is no column lost" in lines[0]
    assert "set data.slices=[COLUMN]" in lines[0]
    assert "the column 0 has the texts" in lines[1]
    assert "leave it out of data.slices" in lines[1]


def test_a_list_as_text_is_malformed() -> None:
    (line,) = lines_of(three_splits(train=labelled((["a", "b"], "no"))))
    assert "1 row of train is malformed (a list instead of a text)" in line


def test_half_a_surrogate_pair_is_undecodable() -> None:
    source = three_splits(train=labelled(("half \ud800", "no")))
    examples = load(source, policies=Policies(undecodable="drop"))
    assert problems_of(examples) == {("undecodable", "train"): (1, "drop")}


def test_two_labels_are_needed() -> None:
    (line,) = lines_of(RowsSource(train=many(60, ("yes",))))
    assert line.startswith("the only label is yes, in column label")


def test_a_split_without_rows_says_what_was_left_out() -> None:
    source = RowsSource(train=many(30), test=labelled(("", "yes"), (" ", "no")))
    (line,) = lines_of(source)
    assert line.startswith("the test split has no rows after leaving out 2 empty_text")


def test_a_made_split_that_is_not_needed_may_be_empty() -> None:
    source = RowsSource(train=many(2))
    policies = Policies(rare_class="keep")
    assert len(load(source, policies=policies, needed=("train",)).splits["train"]) == 2
    lines = lines_of(source, policies=policies)
    assert [line.split(":")[0] for line in lines] == [
        "the validation split has no rows, in rows.csv",
        "the test split has no rows, in rows.csv",
    ]


def test_a_source_without_any_row_is_one_error() -> None:
    (line,) = lines_of(RowsSource(train=[]))
    assert line.startswith("the train split has no rows, in rows.csv")


def test_a_split_emptied_by_errors_is_not_told_twice() -> None:
    (line,) = lines_of(RowsSource(train=labelled(*((f"text {n}", None) for n in range(30)))))
    assert line.startswith("30 rows of train have no label")


def test_a_split_emptied_by_other_errors_is_told_beside_them() -> None:
    unlabelled = labelled(*((f"text {n}", None) for n in range(30)))
    lines = lines_of(RowsSource(train=many(30), validation=unlabelled, test=[]))
    assert [line.split(" has ")[0].split(" have ")[0] for line in lines] == [
        "30 rows of validation",
        "the test split",
    ]


def test_a_split_that_is_neither_there_nor_made_is_an_error() -> None:
    (line,) = lines_of(RowsSource(train=many(30)), made=MadeSplits(test=0))
    assert "there is no test split (there is train), in rows.csv: set data.test" in line
    assert "data.split.test=0.1" in line
    lines = lines_of(RowsSource(test=many(30)))
    assert [line.split(" (")[0] for line in lines] == [
        "there is no train split",
        "there is no validation split",
    ]


def test_a_source_with_only_a_test_split_can_be_judged() -> None:
    examples = load(RowsSource(test=many(10)), needed=("test",))
    assert list(examples.splits) == ["test"]
    assert len(examples.splits["test"]) == 10


def test_the_test_split_is_the_same_whether_it_is_needed_alone_or_not() -> None:
    source = RowsSource(train=many(100))
    assert load(source, needed=("test",)).fingerprints["test"] == load(source).fingerprints["test"]


def test_without_made_splits_a_single_split_is_judged_whole() -> None:
    examples = load(RowsSource(train=many(10)), made=None, needed=("test",))
    assert len(examples.splits["test"]) == 10
    assert examples.made == {"test": {"method": "whole", "source": "train", "count": 10}}


def test_only_the_split_needed_is_read() -> None:
    source = three_splits(train=labelled(("x", None)))
    load(source, needed=("test",))
    assert source.reads == 1


def test_labels_that_a_classifier_does_not_know_are_unknown() -> None:
    labels = Labels(("yes", "no"))
    source = RowsSource(test=[*many(6), *labelled(("x", "maybe"))])
    (line,) = lines_of(source, labels=labels, needed=("test",))
    assert "1 row of test has an unknown label (maybe is none of yes, no)" in line
    policies = Policies(unknown_label="drop")
    examples = load(source, labels=labels, needed=("test",), policies=policies)
    assert examples.labels == labels
    assert Counter(examples.splits["test"]["label"]) == {0: 3, 1: 3}


def test_a_warm_cache_reads_no_rows() -> None:
    source = RowsSource(train=many(60))
    first = load(source)
    assert source.reads == 1
    again = load(source)
    assert source.reads == 1
    assert again.as_record() == first.as_record()
    assert again.splits["test"].to_list() == first.splits["test"].to_list()


@pytest.mark.parametrize(
    "changed",
    [
        {"made": MadeSplits(seed=1)},
        {"policies": Policies(leak="keep")},
        {"rule": LabelRule(names=("yes", "no"))},
        {"columns": Columns(("0",), "label")},
        {"labels": Labels(("yes", "no"))},
        {"needed": ("train",)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_changed_settings_read_again(changed: dict[str, Any]) -> None:
    source = RowsSource(train=many(60))
    load(source)
    load(source, **changed)
    assert source.reads == 2


def test_a_changed_source_is_read_again(tmp_path: Path) -> None:
    load(RowsSource(train=many(60)), cache=tmp_path)
    changed = RowsSource(train=many(61))
    load(changed, cache=tmp_path)
    assert changed.reads == 1


def test_a_damaged_cache_is_made_again(tmp_path: Path) -> None:
    source = RowsSource(train=many(60))
    load(source, cache=tmp_path)
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    file = split_file(folder, "train")
    file.write_bytes(file.read_bytes()[:-8])
    assert len(load(source, cache=tmp_path).splits["train"]) == 48
    assert source.reads == 2


def test_an_error_leaves_nothing_behind(tmp_path: Path) -> None:
    lines_of(three_splits(train=labelled(("x", None))), cache=tmp_path)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_a_full_disk_is_the_machines_fault_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("textmill.data.loading.write_split", full)
    with pytest.raises(MachineError, match="the disk is full"):
        load(RowsSource(train=many(60)), cache=tmp_path)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_two_at_once_get_the_same_and_read_once(tmp_path: Path) -> None:
    source = RowsSource(train=many(2000))
    got: list[Examples] = []
    threads = [Thread(target=lambda: got.append(load(source, cache=tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({json.dumps(examples.as_record()) for examples in got}) == 1
    assert len(got) == 4
    assert source.reads == 1


def test_the_fingerprint_depends_on_text_label_and_order_alone() -> None:
    def fingerprint(rows: Rows, columns: Columns = TEXT_AND_LABEL) -> str:
        source = RowsSource(test=rows)
        policies = Policies(missing_text="keep", empty_text="keep")
        settings = {"columns": columns, "policies": policies, "needed": ("test",)}
        return load(source, rule=LabelRule(names=("a", "b")), **settings).fingerprints["test"]

    rows = labelled(("x", "a"), ("yz", "b"))
    base = fingerprint(rows)
    with_more = [row | {"more": number} for number, row in enumerate(rows)]
    assert fingerprint(with_more, Columns(("text",), "label", slices=("more",))) == base
    others = [
        rows[::-1],
        labelled(("x", "b"), ("yz", "b")),
        labelled(("xy", "a"), ("z", "b")),
        rows[:1],
    ]
    assert len({base, *map(fingerprint, others)}) == 5


def test_the_fingerprint_is_the_same_on_every_machine() -> None:
    examples = load(RowsSource(test=many(10_000)), needed=("test",))
    assert (
        examples.fingerprints["test"]
        == "cccb4d4c20caf15cd18a870bfcda6f19592d4656e18b941b1abbc7e0ca8e65c0"
    )


def test_the_record_is_json() -> None:
    record = load(three_splits(train=labelled(("train 0", "no")))).as_record()
    assert json.loads(json.dumps(record)) == record
    assert record["counts"] == {"train": 11, "validation": 4, "test": 4}
    assert record["labels"] == ["no", "yes"]

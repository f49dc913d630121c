"""People's corrections reach the rows that they are about, and move none to another split."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.sources import RowsSource, labelled, many
from textmill.data.checks import Policies
from textmill.data.columns import Columns
from textmill.data.corrections import Corrections, cell, read_corrections
from textmill.data.examples import Examples
from textmill.data.label_rules import LabelRule
from textmill.data.loading import load_examples
from textmill.data.splits import MadeSplits
from textmill.errors import InputError
from textmill.labels import Labels

COLUMNS = Columns(("text",), "label")


def written(folder: Path, *lines: Mapping[str, str], delimiter: str = ",") -> Corrections:
    """The lines as they come back from a file."""
    path = folder / "suspects.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(lines)
    return read_corrections(path)


def line(row: int, corrected: str, text: str | None = None, split: str = "train") -> dict[str, str]:
    text = f"text {row - 1}" if text is None else text
    return {"place": f"{split}.csv:{row}", "text": text, "corrected": corrected}


def load(
    source: RowsSource,
    corrections: Corrections | None,
    *,
    columns: Columns = COLUMNS,
    rule: LabelRule = LabelRule(),  # noqa: B008
    policies: Policies = Policies(),  # noqa: B008
    **settings: Any,  # noqa: ANN401
) -> Examples:
    return load_examples(
        source, columns, rule, policies, MadeSplits(), corrections=corrections, **settings
    )


def names_at(examples: Examples) -> dict[str, object]:
    """The label names of each row, by place."""
    names = examples.labels.names
    return {
        row["place"]: [names[one] for one in row["label"]]
        if examples.labels.multi_label
        else names[row["label"]]
        for split in examples.splits.values()
        for row in split
    }


def places(examples: Examples) -> dict[str, list[str]]:
    return {split: rows["place"][:] for split, rows in examples.splits.items()}


def lines_of(
    source: RowsSource,
    corrections: Corrections,
    **settings: Any,  # noqa: ANN401
) -> Sequence[str]:
    with pytest.raises(InputError) as raised:
        load(source, corrections, **settings)
    return raised.value.problems


class TestReading:
    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    def test_lines_with_something_corrected_count(self, tmp_path: Path, delimiter: str) -> None:
        given = [line(1, "yes"), line(2, " "), line(3, "(drop)", "a; b, c\td")]
        found = written(tmp_path, *given, delimiter=delimiter).lines
        assert [one.place for one in found] == ["train.csv:1", "train.csv:3"]
        assert [one.corrected for one in found] == ["yes", "(drop)"]
        assert [one.where.rpartition(":")[2] for one in found] == ["2", "4"]

    def test_a_byte_order_mark_is_no_part_of_the_first_column(self, tmp_path: Path) -> None:
        path = tmp_path / "x.csv"
        path.write_text("place,text,corrected\na:1,é,yes\n", encoding="utf-8-sig")
        assert read_corrections(path).lines[0].texts == ("é",)

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (None, ("can't be read (No such file", "data.corrections=", "give a CSV file")),
            (b"", ("no table as CSV",)),
            (b"PK\x03\x04\xff\xfe", ("no table as CSV in UTF-8", "save them as CSV in UTF-8")),
            ("place,text,corrected\na:1,é,yes\n".encode("utf-16"), ("no table as CSV",)),
            (b"place,text,corrected\na\0b,c,d\n", ("no table as CSV",)),
            (b'place,text,corrected\na:1,"open,yes\n', ("no table as CSV",)),
            (b"text,label\na,b\n", ("no column place and no column corrected", "text, label")),
            (b"place,text,corrected\na:1,x\na:2,x,y\n", ("1 line has more or fewer cells", ":2")),
            (b"place,text,corrected\na:1,x,\n", ("nothing is corrected", "leave out")),
            (
                b"place,text,corrected\na:1,x,no\na:1,x,yes\n",
                ("a:1 is corrected to no and to yes", ":3"),
            ),
        ],
    )
    def test_what_is_no_file_of_corrections_is_told(
        self, tmp_path: Path, content: bytes | None, says: tuple[str, ...]
    ) -> None:
        path = tmp_path / "suspects.csv"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError) as raised:
            read_corrections(path)
        (problem,) = raised.value.problems
        assert all(part in problem for part in (*says, str(path)))

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            (" two\n lines\t", "two lines"),
            ("=1+1", "'=1+1"),
            ("@name", "'@name"),
            ("-1.5", "-1.5"),
            ("red \x1b[31m", "red \N{REPLACEMENT CHARACTER}[31m"),
            ("x" * 3000, "x" * 1999 + "\N{HORIZONTAL ELLIPSIS}"),
        ],
    )
    def test_cells_are_harmless(self, text: str, shown: str) -> None:
        assert cell(text) == shown


class TestCorrecting:
    def test_a_row_gets_the_label_that_it_is_corrected_to(self, tmp_path: Path) -> None:
        source = RowsSource(train=many(60))
        plain = load(source, None)
        corrections = written(tmp_path, line(1, "yes"), line(2, "(drop)"), line(4, "yes"))
        examples = load(source, corrections)
        expected = names_at(plain) | {"train.csv:1": "yes"}
        del expected["train.csv:2"]
        assert names_at(examples) == expected
        assert examples.corrections == {"relabelled": 1, "left_out": 1}
        assert examples.as_record()["corrections"] == examples.corrections
        assert plain.corrections == {}

    def test_each_text_that_a_file_shows_is_found_again(self, tmp_path: Path) -> None:
        texts = ["=1+1", "'quoted'", " two\nlines ", "x " * 3000, "a, b; c", '"', "é \x1b", "- no"]
        rows = labelled(*((text, "no") for text in texts))
        source = RowsSource(train=[*rows, *many(60)])
        given = [line(row, "yes", cell(text)) for row, text in enumerate(texts, start=1)]
        assert load(source, written(tmp_path, *given)).corrections["relabelled"] == len(texts)

    def test_names_are_read_as_the_labels_are_called(self, tmp_path: Path) -> None:
        source = RowsSource(train=many(60, labels=(-1.5, 2)))
        rule = LabelRule(names=("1", "-"), thresholds=(0,))
        given = [line(1, "'-"), line(2, "1.0"), line(3, " - ")]
        examples = load(source, written(tmp_path, *given), rule=rule)
        assert [names_at(examples)[f"train.csv:{row}"] for row in (1, 2, 3)] == ["-", "1", "-"]

    def test_several_labels_are_separated_and_may_be_none(self, tmp_path: Path) -> None:
        source = RowsSource(train=many(60, labels=(["a"], ["b", "c"])))
        given = [line(1, "c; a"), line(2, "(none)"), line(3, "(drop)"), line(4, "b")]
        rule = LabelRule(multi_label=True)
        found = names_at(load(source, written(tmp_path, *given), rule=rule))
        assert [found.get(f"train.csv:{row}") for row in (1, 2, 3, 4)] == [
            ["a", "c"],
            [],
            None,
            ["b"],
        ]

    def test_both_texts_of_a_pair_count(self, tmp_path: Path) -> None:
        rows = [{"a": "same", "b": f"b{n}", "label": n % 2} for n in range(60)]
        columns = Columns(("a", "b"), "label")
        pair = {"place": "train.csv:1", "text": "same", "text_pair": "b0", "corrected": "1"}
        source = RowsSource(train=rows)
        examples = load(source, written(tmp_path, pair), columns=columns)
        assert names_at(examples)["train.csv:1"] == "1"
        other = written(tmp_path, pair | {"text_pair": "b1"})
        assert "1 line has another text" in lines_of(source, other, columns=columns)[0]

    def test_rows_of_every_split_of_the_source_are_corrected(self, tmp_path: Path) -> None:
        source = RowsSource(train=many(40), test=many(40, prefix="test"))
        given = [line(1, "yes"), line(1, "yes", "test 0", split="test")]
        found = names_at(load(source, written(tmp_path, *given)))
        assert found["train.csv:1"] == found["test.csv:1"] == "yes"

    def test_a_corrected_conflict_is_none(self, tmp_path: Path) -> None:
        rows = labelled(("twice", "no"), ("twice", "yes"))
        source = RowsSource(train=[*rows, *many(60)])
        policies = Policies(conflicting_duplicate="drop")
        given = written(tmp_path, line(1, "yes", "twice"))
        examples = load(source, given, policies=policies)
        assert [problem.kind for problem in examples.problems] == ["duplicate"]
        assert {"train.csv:1", "train.csv:2"} <= set(places(examples)["train"])

    def test_corrections_are_part_of_the_cache_s_key(self, tmp_path: Path) -> None:
        source = RowsSource(train=many(60))
        given = written(tmp_path, line(1, "yes"))
        for corrections, reads in ((None, 1), (given, 2), (None, 2), (given, 2)):
            load(source, corrections)
            assert source.reads == reads
        load(source, written(tmp_path, line(1, "(drop)")))
        assert source.reads == 3


class TestSplits:
    @pytest.mark.parametrize("group", [None, "user"])
    def test_no_row_moves_to_another_split(self, tmp_path: Path, group: str | None) -> None:
        rows = [row | {"user": number // 3} for number, row in enumerate(many(300))]
        source, columns = RowsSource(train=rows), Columns(("text",), "label", group)
        plain = places(load(source, None, columns=columns))
        given = [line(row, ("yes", "no", "(drop)")[row % 3]) for row in range(1, 200, 2)]
        corrected = load(source, written(tmp_path, *given), columns=columns)
        assert corrected.corrections["relabelled"] > 30
        gone = {one["place"] for one in given if one["corrected"] == "(drop)"}
        for split, rows_of_split in places(corrected).items():
            assert rows_of_split == [place for place in plain[split] if place not in gone]

    def test_a_row_that_comes_back_goes_where_its_group_is(self, tmp_path: Path) -> None:
        rows = [row | {"user": f"user {number // 3}"} for number, row in enumerate(many(300))]
        columns = Columns(("text",), "label", "user")
        policies = Policies(conflicting_duplicate="drop")
        plain = load(RowsSource(train=rows), None, columns=columns)
        user = int(plain.splits["test"][0]["text"].split()[1]) // 3
        rows += [
            {"text": "twice", "label": label, "user": f"user {user}"} for label in ("no", "yes")
        ]
        source = RowsSource(train=rows)
        without = load(source, None, columns=columns, policies=policies)
        assert without.splits["test"]["place"][:] == plain.splits["test"]["place"][:]
        given = written(tmp_path, line(301, "yes", "twice"))
        examples = load(source, given, columns=columns, policies=policies)
        assert {"train.csv:301", "train.csv:302"} <= set(places(examples)["test"])
        assert places(examples)["validation"] == places(without)["validation"]

    def test_a_class_that_corrections_make_rare_is_told(self, tmp_path: Path) -> None:
        rows = [*many(60), *labelled(*((f"odd {n}", "odd") for n in range(4)))]
        source = RowsSource(train=rows)
        test = {row["place"]: row["text"] for row in load(source, None).splits["test"]}
        ((place, text),) = [one for one in test.items() if one[1].startswith("odd")]
        given = written(tmp_path, {"place": place, "text": text, "corrected": "no"})
        (problem,) = lines_of(source, given)
        assert "3 rows of train are of classes with too few examples" in problem
        kept = load(source, given, policies=Policies(rare_class="drop"))
        assert kept.labels.names == ("no", "yes")
        assert place in places(kept)["test"]


class TestErrors:
    def test_all_that_does_not_fit_is_told_at_once(self, tmp_path: Path) -> None:
        given = [
            line(1, "yes"),
            line(2, "ja"),
            line(3, "yes", "text 3"),
            line(5, "yes", "text 5"),
            line(99, "yes"),
        ]
        source = RowsSource(train=[*many(60), *labelled(("x", None))])
        data, label, place, text = lines_of(source, written(tmp_path, *given))
        assert "has no label" in data
        assert "there is no label ja, in " in label
        assert "suspects.csv:3: " in label
        assert "choose one of no, yes, or write (drop)" in label
        assert "1 line has a place that is not in the data, first train.csv:99" in place
        assert "suspects.csv:6" in place
        assert "2 lines have another text than the data, first at train.csv:3" in text
        assert "suspects.csv:4" in text

    def test_labels_are_those_of_the_classifier_that_is_judged(self, tmp_path: Path) -> None:
        source = RowsSource(test=many(20, prefix="text"))
        given = written(tmp_path, line(1, "maybe", split="test"))
        settings = {"needed": ("test",), "labels": Labels(("yes", "no", "maybe"))}
        assert names_at(load(source, given, **settings))["test.csv:1"] == "maybe"
        (problem,) = lines_of(source, given, needed=("test",), labels=Labels(("yes", "no")))
        assert "there is no label maybe" in problem

    def test_a_place_may_be_in_a_split_that_is_not_read(self, tmp_path: Path) -> None:
        source = RowsSource(train=many(20), test=many(20, prefix="test"))
        given = written(tmp_path, line(1, "yes"))
        assert load(source, given, needed=("test",)).corrections["relabelled"] == 0
        shifted = written(tmp_path, line(1, "yes", "text 0", split="test"))
        assert "another text" in lines_of(source, shifted, needed=("test",))[0]

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.data.label_rules import (
    LabelError,
    LabelReader,
    LabelRule,
    interval_names,
    label_name,
    ordered,
)
from textmill.errors import InputError
from textmill.labels import Labels


def names_of(reader: LabelReader, raw: object) -> tuple[str, ...]:
    return reader.sets[reader.code(raw)]


@pytest.mark.parametrize(
    ("raws", "name"),
    [
        ((1, "1", 1.0, "1.0", " 1 ", "1.00"), "1"),
        ((-2, "-2", -2.0), "-2"),
        ((0.0, -0.0, "0", 0), "0"),
        ((True, "true", "True", "TRUE"), "true"),
        ((False, "false", "FALSE"), "false"),
        (("pos", " pos", "pos\n"), "pos"),
        ((1.5, "1.5"), "1.5"),
        (("01",), "01"),
        (("a b",), "a b"),
    ],
)
def test_the_same_label_has_one_name_whatever_the_file_format(
    raws: tuple[object, ...], name: str
) -> None:
    assert {label_name(raw) for raw in raws} == {name}


@pytest.mark.parametrize("raw", [None, "", "  ", math.nan])
def test_no_value_is_no_name(raw: object) -> None:
    assert label_name(raw) is None


@given(st.one_of(st.text(), st.integers(), st.booleans(), st.floats(allow_nan=False)))
def test_naming_a_name_changes_nothing(raw: object) -> None:
    name = label_name(raw)
    assert name is None or label_name(name) == name


def test_whole_numbers_are_ordered_as_numbers_and_other_names_as_names() -> None:
    assert ordered(["10", "9", "2", "9"]) == ("2", "9", "10")
    assert ordered(["10", "9", "x"]) == ("10", "9", "x")


def test_true_and_one_are_not_confused_by_what_was_read_before() -> None:
    reader = LabelReader(LabelRule())
    assert [names_of(reader, raw) for raw in (1, True, 1.0, "1")] == [
        ("1",),
        ("true",),
        ("1",),
        ("1",),
    ]


def test_declared_names_keep_their_order_and_spelling() -> None:
    rule = LabelRule(names=("True", "False"))
    reader = LabelReader(rule)
    assert rule.declared() == ("True", "False")
    assert names_of(reader, True) == names_of(reader, "true") == ("True",)


def test_whole_numbers_stand_for_declared_names_in_turn() -> None:
    reader = LabelReader(LabelRule(names=("negative", "positive")))
    assert names_of(reader, "1") == names_of(reader, "positive") == ("positive",)


def test_numbers_that_are_names_themselves_are_not_taken_for_positions() -> None:
    reader = LabelReader(LabelRule(names=("1", "0")))
    assert names_of(reader, 1) == ("1",)


def test_values_are_renamed_and_declare_the_order() -> None:
    rule = LabelRule(values={"1": "good", "0": "bad"})
    reader = LabelReader(rule)
    assert rule.declared() == ("good", "bad")
    assert names_of(reader, 1.0) == names_of(reader, "good") == ("good",)
    with pytest.raises(LabelError, match="2 is none of good, bad"):
        reader.code(2)


@pytest.mark.parametrize(
    ("rating", "name"),
    [("-0.1", "negative"), (0, "negative"), ("0.0001", "positive"), (3, "positive")],
)
def test_a_number_is_positive_only_above_its_threshold(rating: object, name: str) -> None:
    reader = LabelReader(LabelRule(names=("negative", "positive"), thresholds=(0.0,)))
    assert names_of(reader, rating) == (name,)


@given(st.floats(allow_nan=False), st.lists(st.integers(-5, 5), min_size=1, unique=True))
def test_a_numbers_class_is_how_many_thresholds_are_below_it(
    number: float, cuts: list[int]
) -> None:
    thresholds = tuple(float(cut) for cut in sorted(cuts))
    reader = LabelReader(LabelRule(thresholds=thresholds))
    below = sum(threshold < number for threshold in thresholds)
    assert names_of(reader, number) == (interval_names(thresholds)[below],)


def test_intervals_are_named_after_their_thresholds() -> None:
    assert interval_names((0.0, 1.5)) == ("<=0", ">0 to 1.5", ">1.5")


@pytest.mark.parametrize("raw", ["good", "1,5", "0x1"])
def test_a_cell_that_is_no_number_has_no_class(raw: str) -> None:
    with pytest.raises(LabelError, match="is not a number") as caught:
        LabelReader(LabelRule(thresholds=(0.0,))).code(raw)
    assert caught.value.kind == "unknown_label"


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        (["b", "a", "b"], ("a", "b")),
        ([], ()),
        (None, ()),
        ("", ()),
        ("b|a", ("a", "b")),
        (" a | ", ("a",)),
        ([1, "1.0"], ("1",)),
        ([None, "a"], ("a",)),
        (3, ("3",)),
    ],
)
def test_several_labels_come_as_a_list_or_delimited(raw: object, names: tuple[str, ...]) -> None:
    assert names_of(LabelReader(LabelRule(multi_label=True, delimiter="|")), raw) == names


def test_a_string_of_several_labels_needs_a_delimiter() -> None:
    with pytest.raises(LabelError, match=r"set data\.label_delimiter"):
        LabelReader(LabelRule(multi_label=True)).code("a,b")


@pytest.mark.parametrize("raw", [["a"], {"a": 1}])
def test_a_list_is_not_one_label(raw: object) -> None:
    with pytest.raises(LabelError, match=r"instead of one label; see data\.multi_label"):
        LabelReader(LabelRule()).code(raw)


@pytest.mark.parametrize("raw", [None, "", math.nan])
def test_one_label_a_text_may_not_be_missing(raw: object) -> None:
    with pytest.raises(LabelError) as caught:
        LabelReader(LabelRule()).code(raw)
    assert caught.value.kind == "missing_label"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"names": ("a", "a")}, "declared twice"),
        ({"names": ("1", "1.0")}, "declared twice"),
        ({"names": ("a",)}, "at least two labels"),
        ({"values": {"0": "a", "1": "a"}}, "at least two labels"),
        ({"names": ("a", "b"), "values": {"0": "c"}}, "data.labels does not have: c"),
        ({"thresholds": ()}, "rising numbers"),
        ({"thresholds": (1.0, 1.0)}, "rising numbers"),
        ({"thresholds": (math.inf,)}, "rising numbers"),
        ({"thresholds": (0.0,), "names": ("a", "b", "c")}, "make 2 classes, and 3 labels"),
        ({"thresholds": (0.0,), "multi_label": True}, "neither"),
        ({"delimiter": ","}, "data.multi_label=true"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        LabelRule(**settings)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_a_classifiers_labels_are_used_where_the_data_declares_none() -> None:
    labels = Labels(("ham", "spam"))
    reader = LabelReader(LabelRule().within(labels), labels.names)
    assert names_of(reader, 1) == ("spam",)
    with pytest.raises(LabelError, match="eggs is none of ham, spam"):
        reader.code("eggs")


def test_a_classifiers_labels_bound_those_that_the_data_declares() -> None:
    labels = Labels(("good", "bad"))
    rule = LabelRule(values={"0": "bad", "1": "good", "2": "mixed"})
    reader = LabelReader(rule.within(labels), labels.names)
    assert names_of(reader, 1) == ("good",)
    with pytest.raises(LabelError, match="mixed is none of good, bad"):
        reader.code(2)


def test_one_label_and_several_labels_do_not_mix() -> None:
    with pytest.raises(InputError, match=r"data\.multi_label=true"):
        LabelRule().within(Labels(("a", "b"), multi_label=True))

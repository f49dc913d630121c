from __future__ import annotations

import pytest

from textmill.data.checks import KINDS, NEVER_KEPT, Action, Findings, Kind, Policies
from textmill.errors import InputError


def test_findings_are_counted_with_their_first_example() -> None:
    findings = Findings(Policies())
    findings.add("missing_label", "train", "a.csv:3", "first")
    findings.add("missing_label", "train", "a.csv:9", "second")
    findings.add("missing_label", "test", "b.csv:1", "third")
    train, test = findings.problems()
    assert (train.count, train.place, train.example) == (2, "a.csv:3", "first")
    assert (test.split, test.count) == ("test", 1)


def test_all_errors_are_told_at_once_and_nothing_else_is() -> None:
    findings = Findings(Policies())
    findings.add("leak", "train", "a.csv:1", "dropped, so no error", count=5)
    findings.add("unknown_label", "test", "b.csv:2", "x")
    findings.add("missing_label", "train", "a.csv:3", "y")
    with pytest.raises(InputError) as caught:
        findings.raise_errors(also=[InputError("one more")])
    assert [line.split(" ")[3:5] for line in caught.value.problems[:2]] == [
        ["train", "has"],
        ["test", "has"],
    ]
    assert caught.value.problems[2] == "one more"


def test_dropped_and_kept_problems_end_nothing() -> None:
    findings = Findings(Policies())
    assert findings.add("leak", "train", "a.csv:1", "x") == "drop"
    assert findings.add("duplicate", "train", "a.csv:1", "x") == "keep"
    findings.raise_errors()


def test_a_message_says_what_where_and_what_next() -> None:
    findings = Findings(Policies())
    findings.add("missing_label", "train", "reviews.csv:17", "a lovely film", count=1_234)
    assert findings.problems()[0].error().problems == (
        '1,234 rows of train have no label, in reviews.csv:17 ("a lovely film"): '
        "set data.on_problem.missing_label=drop to leave them out",
    )


def test_a_message_names_the_labels_concerned() -> None:
    findings = Findings(Policies())
    for name in ("b", "a", "b", "c", "d", "e"):
        findings.add("unknown_label", "train", "x.csv:1", "text", detail=name)
    line = findings.problems()[0].error().problems[0]
    assert "6 rows of train have an unknown label (b; a; c; ...)" in line
    assert "data.labels" in line


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_message_with_a_key_to_set(kind: Kind) -> None:
    findings = Findings(Policies())
    findings.add(kind, "train", "x.csv:1", "text")
    line = findings.problems()[0].error().problems[0]
    assert line.startswith("1 row of train ")
    assert f"set data.on_problem.{kind}=drop to leave it out" in line
    assert (f"data.on_problem.{kind}=keep" in line) == (kind not in NEVER_KEPT)


@pytest.mark.parametrize("kind", sorted(NEVER_KEPT))
def test_rows_that_are_of_no_use_cannot_be_kept(kind: Kind) -> None:
    keep: dict[str, Action] = {kind: "keep"}
    with pytest.raises(InputError, match=f"can't be kept, in data.on_problem.{kind}"):
        Policies(**keep)


def test_unknown_actions_are_all_told_with_a_suggestion() -> None:
    with pytest.raises(InputError) as caught:
        Policies(leak="dorp", duplicate="ignore")  # type: ignore[arg-type]
    assert len(caught.value.problems) == 2
    assert "did you mean drop?" in str(caught.value)


def test_a_problem_is_plain_values() -> None:
    findings = Findings(Policies())
    findings.add("leak", "train", "a:1", "x", detail="test")
    assert findings.problems()[0].as_record() == {
        "kind": "leak",
        "split": "train",
        "count": 1,
        "example": "x",
        "place": "a:1",
        "action": "drop",
        "detail": "test",
    }

"""What users read when something is wrong."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.errors import (
    InputError,
    MachineError,
    TextmillError,
    did_you_mean,
    make_all,
    one_line,
)


def test_a_message_says_what_where_and_the_next_step() -> None:
    error = InputError("the column is missing", where="reviews.csv", hint="set data.text")
    assert str(error) == "the column is missing, in reviews.csv: set data.text"


def test_where_and_hint_can_be_left_out() -> None:
    assert one_line("no data") == "no data"
    assert one_line("no data", where="a.csv") == "no data, in a.csv"
    assert one_line("no data", hint="add some") == "no data: add some"


@given(st.text(), st.text(), st.text())
def test_a_message_is_one_printable_line_whatever_the_data_hold(
    what: str, where: str, hint: str
) -> None:
    assert one_line(what, where=where, hint=hint).isprintable()


def test_escape_sequences_of_the_data_do_not_reach_the_terminal() -> None:
    assert one_line("bad text '\x1b[31mred'") == "bad text '\\x1b[31mred'"


def test_input_is_status_2_and_the_machine_status_1() -> None:
    assert (InputError("x").exit_status, MachineError("x").exit_status) == (2, 1)
    assert issubclass(InputError, TextmillError)
    assert issubclass(MachineError, TextmillError)


def test_several_problems_are_told_together_in_order() -> None:
    inner = InputError.all_of([InputError("b"), InputError("c", hint="d")])
    error = InputError.all_of([InputError("a"), inner])
    assert error.problems == ("a", "b", "c: d")
    assert all(problem in str(error) for problem in error.problems)


def fail(error: TextmillError) -> None:
    raise error


@pytest.mark.parametrize(
    ("errors", "kind"),
    [
        ([MachineError("full"), InputError("no gpu"), InputError("no file")], InputError),
        ([MachineError("full"), MachineError("away")], MachineError),
    ],
)
def test_what_several_checks_find_is_told_together(
    errors: list[TextmillError], kind: type[TextmillError]
) -> None:
    made: list[int] = []
    checks = [partial(fail, error) for error in errors]
    with pytest.raises(TextmillError) as caught:
        make_all([*checks, lambda: made.append(1)])
    assert type(caught.value) is kind
    assert caught.value.problems == tuple(str(error) for error in errors)
    assert made == [1]
    make_all([lambda: made.append(2)])
    assert made == [1, 2]


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("moviereviews", ["movie_reviews", "tweets"], "did you mean movie_reviews?"),
        ("MiniLM", ["minilm", "modernbert"], "did you mean minilm?"),
        ("TEXT", ["Text", "Label"], "did you mean Text?"),
        ("zzz", ["b", "a"], "choose one of a, b"),
        ("yess", ["yes", "no", "yes"], "did you mean yes?"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_or_with_all(
    name: str, known: list[str], hint: str
) -> None:
    assert did_you_mean(name, known) == hint


def test_a_hint_does_not_list_hundreds_of_names() -> None:
    hint = did_you_mean("zzz", [f"column{number:03}" for number in range(200)])
    assert hint.endswith("column029 and 170 more")

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.searches import LATENCY, MCC, make_search, make_trial
from textmill.report.search_charts import (
    front_charts,
    history_chart,
    importance_chart,
    learning_chart,
    parallel_chart,
    slice_charts,
)
from textmill.report.search_page import search_page, write_search_report
from textmill.report.search_record import Objective, SearchRecord, TrialRecord
from textmill.report.search_words import spared_share, verdict

MOST_BYTES = 2_000_000
SCRIPT = "<script>alert(1)</script>"
TRIALS = [
    make_trial(0, 0.30),
    make_trial(1, 0.50),
    make_trial(2, 0.20, state="pruned"),
    make_trial(3, state="failed"),
    make_trial(4, 0.45),
    make_trial(5, state="running"),
]


def test_the_verdict_tells_how_many_which_is_best_how_surely_and_what_was_spared() -> None:
    counted, best, lead, spared = verdict(make_search(TRIALS))
    assert counted == "6 trials: 3 finished, 1 pruned, 1 failed, 1 running."
    assert best == (
        "The best is trial 1, with validation/mcc 0.5000: optimizer.lr 0.001, scheduler linear."
    )
    assert lead.startswith("The second, trial 4, is 0.0500 behind.")
    assert spared == "Pruning spared 12% of the training."


def test_a_lead_that_is_slight_and_one_among_many_are_told_with_caution() -> None:
    many = make_search([make_trial(number, 0.1 * number) for number in range(5)])
    values = (0.1, 0.1, 0.499, 0.5)
    slight = make_search([make_trial(number, value) for number, value in enumerate(values)])
    assert "owes a part to luck" in verdict(many)[2]
    assert "slight" not in verdict(many)[2]
    assert "slight" in verdict(slight)[2]
    assert "owes a part to luck" not in verdict(slight)[2]


def test_where_nothing_can_be_compared_the_verdict_says_so() -> None:
    same = make_search([make_trial(number) for number in range(6)])
    assert "All 6 have this value" in verdict(same)[2]
    assert "no other yet" in verdict(make_search([make_trial(0)]))[2]
    cut = make_search([make_trial(number, state="pruned") for number in range(3)])
    assert verdict(cut)[:2] == [
        "All 3 trials were pruned.",
        "None has come to its end with a value, so there is no best one.",
    ]


def test_of_several_objectives_the_ends_of_the_front_are_told() -> None:
    trials = [make_trial(0, 0.5, 9.0), make_trial(1, 0.4, 3.0), make_trial(2, 0.3, 5.0)]
    _, front, first, second = verdict(make_search(trials, MCC, LATENCY))
    assert front.startswith("2 trials are on the Pareto front")
    assert first.startswith("Trial 0 has the best validation/mcc, with validation/mcc 0.5000 and")
    assert second.startswith("Trial 1 has the best latency_ms, with validation/mcc 0.4000 and")
    *_, alone = verdict(make_search(trials[1:], MCC, LATENCY))
    assert alone.startswith("The best in every objective is trial 1")


def test_what_pruning_spared_is_a_share_of_the_whole_of_all_trials() -> None:
    # Two whole trainings of 40 steps, and one that ended after 20.
    search = make_search([make_trial(0), make_trial(1), make_trial(2, state="pruned")])
    assert spared_share(search) == pytest.approx(20 / 120)
    assert spared_share(make_search([make_trial(0)])) is None


def test_the_history_marks_the_best_so_far_and_what_was_pruned() -> None:
    chart = history_chart(make_search(TRIALS), 0)
    assert chart is not None
    layers = {layer.name: layer for layer in chart.layers}
    assert layers["finished"].x.tolist() == [0, 1, 4]
    assert layers["finished"].y.tolist() == [0.30, 0.50, 0.45]
    assert layers["best so far"].y.tolist() == [0.30, 0.30, 0.50, 0.50, 0.50]
    assert layers["pruned, at its last validation"].x.tolist() == [2]


def test_what_is_minimized_has_its_best_lowest() -> None:
    trials = [make_trial(0, 0.5, 9.0), make_trial(1, 0.4, 3.0), make_trial(2, 0.3, 5.0)]
    chart = history_chart(make_search(trials, MCC, LATENCY), 1)
    assert chart is not None
    best = next(layer for layer in chart.layers if layer.name == "best so far")
    assert best.y.tolist()[-1] == 3.0
    assert "lower is better" in chart.y.name


def test_the_pareto_front_has_the_trials_that_no_other_beats() -> None:
    trials = [make_trial(0, 0.5, 9.0), make_trial(1, 0.4, 3.0), make_trial(2, 0.3, 5.0)]
    [chart] = front_charts(make_search(trials, MCC, LATENCY))
    layers = {layer.name: layer for layer in chart.layers}
    assert layers["on the front"].notes == ("0", "1")
    assert layers["other trials"].x.tolist() == [0.3]
    assert front_charts(make_search(trials[:0])) == []


def test_three_objectives_are_shown_in_pairs() -> None:
    sizes = [make_trial(0, 0.5, 9.0, 1.0), make_trial(1, 0.4, 3.0, 2.0)]
    third = Objective("parameters", maximize=False)
    assert len(front_charts(make_search(sizes, MCC, LATENCY, third))) == 3


def test_importance_goes_from_the_most_to_the_least() -> None:
    chart = importance_chart(make_search(TRIALS))
    assert chart is not None
    assert chart.categories == ("optimizer.lr", "scheduler")
    assert importance_chart(make_search(TRIALS[:1])) is None


def test_parallel_lines_have_a_place_on_each_axis_or_none() -> None:
    trials = [make_trial(0, 0.3, **{"model.freeze": "none"}), make_trial(1, 0.5)]
    chart = parallel_chart(make_search(trials))
    assert chart is not None
    names = [scale.name for scale in chart.scales]
    assert names[:-1] == ["optimizer.lr", "scheduler", "model.freeze"]
    assert chart.scales[0].logarithmic
    best = next(strands for strands in chart.strands if strands.name == "best")
    assert names[-1] == "validation/mcc"
    assert best.values[0][0] == pytest.approx(1e-3)
    assert np.isnan(best.values[0][2])


def test_each_parameter_has_its_slice() -> None:
    slices = slice_charts(make_search(TRIALS), 0)
    assert list(slices) == ["optimizer.lr", "scheduler"]
    assert slices["scheduler"].x.categories == ("linear",)


def test_the_learning_curves_of_pruned_trials_end_early() -> None:
    chart = learning_chart(make_search(TRIALS))
    assert chart is not None
    pruned = next(layer for layer in chart.layers if layer.name == "pruned")
    assert np.nanmax(pruned.x) == 20


ODD = {
    "nothing": [],
    "one": [make_trial(0)],
    "all pruned": [make_trial(number, state="pruned") for number in range(3)],
    "all failed": [make_trial(number, state="failed") for number in range(3)],
    "all the same": [make_trial(number) for number in range(6)],
    "no numbers": [make_trial(0, float("nan")), make_trial(1, float("inf")), make_trial(2)],
    "many parameters": [
        make_trial(n, n / 5, **{f"k{i}": i * n for i in range(20)}) for n in range(5)
    ],
    "odd values": [
        make_trial(0, 0.1, **{"data.labels": ["a", "b"], "trainer.patience": None}),
        make_trial(1, 0.2, **{"data.labels": "x" * 500, "trainer.patience": True}),
        make_trial(2, 0.3, **{"trainer.patience": 2}),
    ],
}


@pytest.mark.parametrize("trials", ODD.values(), ids=ODD.keys())
def test_any_search_has_a_page(trials: list[TrialRecord], tmp_path: Path) -> None:
    page = search_page(tmp_path, make_search(trials))
    assert len(re.findall("<tr>\n<td", page)) == len(trials)
    assert not re.search(r"[ \",](nan|inf)[ \",]", "".join(re.findall(r' d="[^"]*"', page)))


def test_a_large_search_has_a_page_that_opens(tmp_path: Path) -> None:
    more = {f"model.extra_{index}": index for index in range(18)}
    trials = [make_trial(number, number % 37 / 37, **more) for number in range(500)]
    write_search_report(tmp_path / "report.html", make_search(trials))
    assert (tmp_path / "report.html").stat().st_size < MOST_BYTES


def test_what_comes_from_the_configuration_is_escaped(tmp_path: Path) -> None:
    trials = [make_trial(n, n / 3, **{"data.name": SCRIPT, SCRIPT: n}) for n in range(3)]
    page = search_page(tmp_path, make_search(trials, name=SCRIPT))
    assert SCRIPT not in page
    assert "&lt;script&gt;" in page


def test_a_trial_leads_to_the_report_of_its_run_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "a run").mkdir()
    (tmp_path / "a run" / "report.html").write_text("")
    page = search_page(
        tmp_path, make_search([make_trial(0, run="no"), make_trial(1, 0.1, run="a run")])
    )
    assert re.findall('<a href="([^#"]*)">', page) == ["a%20run/report.html"]


def test_a_long_value_is_whole_only_for_the_best_trial(tmp_path: Path) -> None:
    trials = [make_trial(n, n / 2, **{"data.name": f"{n}" * 500}) for n in range(2)]
    page = search_page(tmp_path, make_search(trials))
    assert "1" * 500 in page
    assert "0" * 100 not in page
    assert "0" * 79 + "\N{HORIZONTAL ELLIPSIS}" in page


def test_values_are_written_as_in_the_configuration(tmp_path: Path) -> None:
    search: SearchRecord = make_search([make_trial(0, **{"data.labels": ["a", "b"]})])
    page = search_page(tmp_path, search)
    assert json.dumps(["a", "b"]).replace('"', "&#34;") in page


def test_the_best_trial_has_all_its_parameters_and_leads_to_its_report(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "report.html").write_text("")
    extra = {f"model.extra_{index}": index for index in range(9)}
    page = search_page(tmp_path, make_search([make_trial(0, run="run", **extra)]))
    [best] = re.findall('<section id="best">(.*?)</section>', page, re.DOTALL)
    assert "<dt>model.extra_8</dt><dd>8</dd>" in best
    assert 'Its report: <a href="run/report.html">run</a>' in best

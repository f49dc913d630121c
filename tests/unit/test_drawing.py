"""Drawn charts read well in any page, whatever the data call things."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import warnings
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from textmill.tracking.drawing import PALETTE, png, svg
from textmill.tracking.shapes import (
    BarChart,
    Chart,
    Drawable,
    Heatmap,
    Layer,
    LayeredChart,
    LineChart,
    Look,
    ParallelChart,
    Scale,
    Series,
    Strands,
)

HOSTILE = "<script>alert(1)</script>"


def lines(*names: str, points: int = 40, title: str = "Lines") -> LineChart:
    x = np.linspace(0, 1, points)
    series = tuple(Series(name, x, x ** (i + 1)) for i, name in enumerate(names))
    return LineChart(title, "across", "up", series, diagonal=True, unit_square=True)


def bars(*names: str, counts: bool = True) -> BarChart:
    heights = np.linspace(0.1, 0.9, len(names))
    return BarChart(
        "Bars",
        "places",
        "share",
        names,
        {"right": heights, "wrong": 1 - heights},
        1000.0 * np.arange(1, len(names) + 1) if counts else None,
    )


def cells(*names: str, shares: bool = False) -> Heatmap:
    values = np.arange(len(names) ** 2, dtype=np.float64).reshape(len(names), -1)
    values = values / values.max() if shares else values
    return Heatmap("Cells", "predicted", "label", names, names, values, shares)


def layers(*names: str, x: Scale | None = None, small: bool = False) -> LayeredChart:
    places = np.array([1.0, 2.0, 4.0])
    marks = [Look("dots", 0, 4), Look("rings", 1, 9), Look("crosses", 5, 4), Look("lines", 2, 1)]
    drawn = tuple(
        Layer(name, places, places + row, look, ("noted",) if row == 1 else ())
        for row, (name, look) in enumerate(zip(names, marks, strict=False))
    )
    return LayeredChart("Layers", x or Scale("across"), Scale("up"), drawn, small)


def strands(name: str = "some", category: str = "mean") -> ParallelChart:
    scales = (Scale("rate", logarithmic=True), Scale("pooling", (category, "max")), Scale("score"))
    values = np.array([[1e-4, 0, 0.5], [1e-2, np.nan, 0.7]])
    return ParallelChart("Strands", scales, (Strands(name, values, Look("lines", 0, 1)),), "absent")


CHARTS = [lines("one", "two"), bars("short", "long"), cells("good", "bad")]


def drawn(chart: Drawable) -> ElementTree.Element:
    return ElementTree.fromstring(svg(chart))  # noqa: S314 - our own


def texts(chart: Drawable) -> list[str]:
    """The texts that are drawn, in order."""
    return [element.text or "" for element in drawn(chart).iter("text")]


def luminance(color: str) -> float:
    """Relative luminance (WCAG 2)."""
    shares = np.array([int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("chart", CHARTS)
def test_a_chart_is_an_image_named_by_its_title(chart: Chart) -> None:
    root = drawn(chart)
    assert (root.tag, root.attrib["role"]) == ("svg", "img")
    assert (root[0].tag, root[0].text) == ("title", chart.title)


@pytest.mark.parametrize("chart", CHARTS)
def test_text_and_axes_have_the_colour_and_font_of_the_page(chart: Chart) -> None:
    text = svg(chart)
    assert set(re.findall(r": (#[0-9a-f]{6})", text)) <= set(PALETTE)
    assert "fill: currentColor" in text
    assert "stroke: currentColor" in text
    assert "font-family" not in text
    assert {chart.x_label, chart.y_label} <= set(texts(chart))


def test_no_style_of_a_chart_reaches_the_page() -> None:
    assert "<style" not in svg(CHARTS[0])


@pytest.mark.parametrize("ground", ["#ffffff", "#14171c"])
def test_every_colour_stands_out_from_a_light_and_a_dark_ground(ground: str) -> None:
    for color in PALETTE:
        bright, dim = sorted((luminance(color), luminance(ground)), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) >= 3


def test_ids_of_several_charts_do_not_clash_and_all_references_hold() -> None:
    several = (
        lines("a", points=5),
        lines("a", points=5, title="Same lines"),
        lines("b"),
        bars("x"),
    )
    page = "".join(svg(chart) for chart in several)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids)) > 0
    references = re.findall(r'(?:href="|url\()#([^")]+)', page)
    assert set(references) == set(ids)


@pytest.mark.parametrize("chart", CHARTS)
def test_the_same_chart_is_drawn_the_same_again(chart: Chart) -> None:
    assert svg(chart) == svg(chart)
    assert png(chart) == png(chart)


@pytest.mark.parametrize("draw", [svg, png])
def test_drawing_leaves_no_trace_in_matplotlibs_settings(draw: object) -> None:
    before = dict(mpl.rcParams)
    draw(CHARTS[0])  # type: ignore[operator]
    assert dict(mpl.rcParams) == before


def test_no_window_system_is_loaded() -> None:
    program = (
        "import sys, tests.unit.test_drawing as t\n"
        "t.svg(t.CHARTS[0]); t.png(t.CHARTS[0])\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("name", [HOSTILE, "a & b", "$x_1$", "_hidden", 'id="x"', "#010203"])
def test_names_from_the_data_stay_what_they_are(name: str) -> None:
    assert name in texts(lines(name, "other"))
    assert name in texts(bars(name, "other"))
    assert texts(cells(name, "other")).count(name) == 2
    assert "<script" not in svg(lines(name))


def test_control_characters_and_line_breaks_are_shown_as_signs() -> None:
    assert "a\N{REPLACEMENT CHARACTER}b c" in texts(lines("a\0b\nc", "other"))


def test_long_names_are_shortened() -> None:
    longest = max(texts(cells("x" * 200, "other")), key=len)
    assert longest == "x" * 27 + "\N{HORIZONTAL ELLIPSIS}"


def test_names_in_other_scripts_are_drawn_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "積極的" in texts(lines("積極的", "消極的"))
        png(lines("積極的", "消極的"))


def test_a_single_series_without_a_name_has_no_legend() -> None:
    assert "0" not in texts(lines(""))


@pytest.mark.parametrize("name", [HOSTILE, "$x_1$", "_hidden", "#010203"])
def test_names_from_a_search_stay_what_they_are(name: str) -> None:
    assert name in texts(layers(name, "other"))
    places = texts(layers("one", x=Scale(name, ("a", name))))
    assert [text[:23] for text in places].count(name[:23]) == 2
    assert name in texts(strands(name))
    assert name[:13] in "".join(texts(strands(category=name)))
    assert "<script" not in svg(strands(name, name))


@pytest.mark.parametrize("chart", [layers("a", "b", "c", "d"), layers("a", small=True), strands()])
def test_layers_and_strands_have_the_pages_colours(chart: Drawable) -> None:
    text = svg(chart)
    assert set(re.findall(r": (#[0-9a-f]{6})", text)) <= set(PALETTE)
    assert "fill: currentColor" in text
    assert drawn(chart)[0].text == chart.title


def test_all_dots_of_a_layer_are_one_path_with_round_ends() -> None:
    root = drawn(layers("dots"))
    dots = [one for one in root.iter("path") if "stroke-linecap: round" in one.get("style", "")]
    assert [one.attrib["d"].count("M") for one in dots] == [3]


def test_points_are_noted_and_layers_without_a_name_are_not_in_the_legend() -> None:
    shown = texts(layers("dots", ""))
    assert "noted" in shown
    assert "dots" in shown
    assert "" not in shown


def test_ratios_have_the_same_length_on_a_logarithmic_scale() -> None:
    assert {"1", "2"} <= set(texts(layers("dots", x=Scale("rate", logarithmic=True))))


def test_strands_tell_the_ends_of_each_axis_and_where_a_value_is_absent() -> None:
    assert {"0.0001", "0.01", "mean", "max", "0.5", "0.7", "absent"} <= set(texts(strands()))
    whole = strands()
    whole.strands[0].values[1, 1] = 1
    assert "absent" not in texts(whole)


def test_bars_show_the_examples_behind_them() -> None:
    assert {"examples", "1,000", "2,000"} <= set(texts(bars("short", "long")))
    assert "examples" not in texts(bars("short", "long", counts=False))


def test_cells_show_counts_whole_and_shares_with_two_digits() -> None:
    assert {"0", "1", "2", "3"} <= set(texts(cells("good", "bad")))
    assert "1.00" in texts(cells("good", "bad", shares=True))


def test_a_cell_that_is_no_number_stays_empty() -> None:
    chart = cells("good", "bad", shares=True)
    chart.values[1] = np.nan
    assert texts(chart).count("nan") == 0


def test_very_many_cells_are_one_image_and_a_small_one() -> None:
    text = svg(cells(*(f"label {number}" for number in range(150))))
    assert text.count("<image") == 1
    assert "data:image/png;base64," in text
    assert len(text) < 250_000


def test_of_very_many_labels_each_second_one_is_named() -> None:
    names = texts(cells(*(f"label {number}" for number in range(150))))
    assert [names.count(f"label {number}") for number in range(3)] == [2, 0, 2]


def test_many_categories_are_named_now_and_then() -> None:
    names = [text for text in texts(bars(*map(str, range(100, 140)))) if text.startswith("1")]
    assert "100" in names
    assert "101" not in names


def test_a_picture_has_a_title_and_a_white_ground() -> None:
    picture = Image.open(io.BytesIO(png(lines("one", title="A title " * 20))))
    assert picture.format == "PNG"
    assert picture.width > 600
    assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)

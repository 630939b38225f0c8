"""Pictures of readings over time: self-contained, unbroken where data is, and of every kind that is asked for."""

import sys
from math import nan
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tpctl.exits.errors import InputsError
from tpctl.views.risk_plot import Curve, Picture, draw, svg

HOUR = 3_600_000
START = 1_652_000_400_000


def picture(values: list[float] | None = None, title: str = "stress & <risk>") -> Picture:
    found = [1.0 + index % 7 for index in range(20_000)] if values is None else values
    at = [START + index * HOUR for index in range(len(found))]
    dates = (("luna", at[len(at) // 2]), ("later", at[-1] + HOUR), ("late", at[-2]))
    return Picture(title, at, (Curve("ESS", found, 8.0, 1.5, 2.5), Curve("systemic", found, 1.0, 0.6, 0.8)), dates)


def elements(text: str, name: str) -> list[ET.Element]:
    return list(ET.fromstring(text).iter(f"{{http://www.w3.org/2000/svg}}{name}"))  # noqa: S314 - our own


def test_a_drawing_is_well_formed_and_refers_to_nothing_outside() -> None:
    text = svg(picture())
    words = [element.text for element in elements(text, "text")]

    assert words.count("luna") == 2
    assert "later" not in words
    assert "stress & <risk>" in words
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_a_peak_of_one_hour_is_never_lost_among_years() -> None:
    values = [1.0] * 20_000
    values[12_345] = 7.0
    polygon = elements(svg(picture(values)), "polygon")[0].attrib["points"]
    heights = {float(point.split(",")[1]) for point in polygon.split()}

    assert min(heights) == pytest.approx(50 + 240 * (1 - 7 / 8), abs=0.1)


def test_missing_readings_are_a_gap_and_not_a_line() -> None:
    values = [1.0] * 9_000 + [nan] * 2_000 + [1.0] * 9_000

    assert len(elements(svg(picture(values)), "polygon")) == 4
    assert len(elements(svg(picture()), "polygon")) == 2
    assert len(elements(svg(picture([1.0] * 30)), "polygon")) == 2


def test_a_page_holds_the_drawing_and_a_title_that_is_escaped() -> None:
    page = draw(picture(), Path("course.html")).decode()

    assert svg(picture()) in page
    assert "<title>stress &amp; &lt;risk&gt;</title>" in page
    assert draw(picture(), Path("course.svg")).decode() == svg(picture())


def test_a_png_is_drawn_where_the_extra_is_installed() -> None:
    assert draw(picture([1.0, 2.0, 3.0, nan, 1.0] * 60), Path("course.png")).startswith(b"\x89PNG")


def test_without_the_extra_a_png_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputsError) as caught:
        draw(picture(), Path("course.png"))

    assert caught.value.hint == "install it: pip install 'tpctl[plot]', or name a .svg file"

import base64
import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from mmssl.report.figures import curve, histogram, loss_chart, scatter
from mmssl.report.measures import Interval


def svg(chart) -> str:
    kind, _, data = chart.src.partition(",")
    assert kind == "data:image/svg+xml;base64"
    return base64.b64decode(data).decode()


def test_a_curve_follows_the_readers_colours_and_is_the_same_each_time():
    values = [(1, 0.5), (2, 0.75), (4, 0.25)]
    chart = curve("Recall@20", values, 2)
    text = svg(chart)
    ElementTree.fromstring(text)
    assert "prefers-color-scheme:dark" in text
    assert "var(--model)" in text
    assert "var(--ink)" in text
    assert "#0304" not in text
    assert svg(curve("Recall@20", values, 2)) == text
    assert "lowest 0.25, highest 0.75; the epoch kept, 2, is marked" in chart.alt
    assert "marked" not in curve("Recall@20", values, None).alt


def test_a_histogram_counts_everything_once():
    counts = np.array([0, 0, 1, 2, 3, 3, 4, 8, 15, 16])
    told = histogram("Interactions per user", counts, "users").alt
    assert told.endswith("users. 0: 2, 1: 1, 2–3: 3, 4–7: 1, 8–15: 2, 16–31: 1.")
    assert "0:" not in histogram("x", np.array([1, 1]), "users").alt


def test_a_name_with_dollars_is_no_formula():
    chart = loss_chart("loss", {"$\\frac$": Interval(0.1, 0.05, 0.2), "b": Interval(0, -1, 1)})
    assert "$\\frac$" in svg(chart)
    assert "$\\frac$ +0.1000 (+0.0500 to +0.2000)" in chart.alt


def test_dots_stand_where_they_should():
    src = scatter(np.array([[0.25, 0.75]]), ["#0072b2"], (200, 100))
    picture = Image.open(io.BytesIO(base64.b64decode(src.partition(",")[2])))
    drawn = np.argwhere(np.asarray(picture)[..., 3] > 100)
    top, left = drawn.mean(axis=0) / picture.size[::-1]
    assert (left, top) == (pytest.approx(0.25, abs=0.01), pytest.approx(0.25, abs=0.02))

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.media.timeline import Timeline


def timeline(shown, end, base=Fraction(1, 10)) -> Timeline:
    return Timeline(np.array(shown, np.int64), np.array(shown[:1]), end, base, False, True)


@given(
    steps=st.lists(st.integers(1, 50), min_size=1, max_size=40),
    start=st.integers(-1000, 1000),
    count=st.integers(1, 50),
)
def test_uniform_frames_are_those_on_show_in_the_middle_of_each_piece(steps, start, count):
    shown = [start + sum(steps[:n]) for n in range(len(steps))]
    end = shown[-1] + steps[-1]
    found = timeline(shown, end).uniform(count)
    for k, at in enumerate(found):
        middle = start + Fraction(2 * k + 1, 2 * count) * (end - start)
        assert at == max(time for time in shown if time <= middle)


def test_a_single_frame_without_duration_is_every_frame():
    assert timeline([5], 5).uniform(3) == [5, 5, 5]


def test_seconds_are_counted_from_the_first_frame():
    assert timeline([20, 30, 45], 50).seconds(45) == pytest.approx(2.5)


def test_before_the_first_frame_the_first_is_seen():
    assert timeline([20, 30], 40).frame_at(3) == 20

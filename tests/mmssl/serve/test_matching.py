"""Words in texts."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from mmssl.serve.matching import Matcher

WORDS = st.text("aAß .", max_size=4)


@given(st.lists(st.none() | WORDS, max_size=8), WORDS, st.integers(1, 4))
def test_rows_are_those_that_hold_all_words_the_ones_that_begin_with_them_first(
    texts, words, limit
):
    folded = [None if text is None else text.casefold() for text in texts]
    wanted = words.casefold().split()
    holding = [
        row
        for row, text in enumerate(folded)
        if text is not None and all(word in text for word in wanted)
    ]
    begins = [row for row in holding if folded[row].startswith(" ".join(wanted))]
    expected = begins + [row for row in holding if row not in begins]
    if not wanted:
        expected = list(range(len(texts)))
    found = Matcher(pl.Series(texts, dtype=pl.String)).find(words, limit)
    assert found == expected[:limit]

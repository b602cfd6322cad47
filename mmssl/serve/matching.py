"""Finding texts that hold some words, without regard to capital letters."""

from functools import reduce
from operator import and_

import polars as pl


class Matcher:
    """Texts, one a row, that can be searched; it never changes."""

    def __init__(self, texts: pl.Series) -> None:
        """Take texts, null where there is none."""
        # Python's casefold, not polars' lower case: STRASSE finds Straße.
        folded = [None if text is None else text.casefold() for text in texts]
        self._folded = pl.Series("text", folded, dtype=pl.String)

    def find(self, words: str, limit: int) -> list[int]:
        """The first ``limit`` rows that hold all the words, those that begin with them first."""
        folded = words.casefold().split()
        if not folded:
            return list(range(min(limit, len(self._folded))))
        texts = pl.col("text")
        holds = reduce(and_, (texts.str.contains(word, literal=True) for word in folded))
        rows = pl.DataFrame([self._folded]).with_row_index("row").lazy()
        begins = texts.str.starts_with(" ".join(folded))
        first = rows.filter(begins).head(limit)
        others = rows.filter(holds & ~begins).head(limit)
        both = pl.concat([first, others]).head(limit).collect()
        return [int(row) for row in both["row"]]

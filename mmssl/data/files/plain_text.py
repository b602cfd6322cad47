"""Text as a shop's pages have it, without their markup."""

from html.parser import HTMLParser

import polars as pl

_UNSEEN = ("script", "style")


def plain(texts: pl.Series) -> pl.Series:
    """Tags taken out, character references resolved, white space made single; null where empty.

    A picture's ``alt`` stands for it; what ``script`` and ``style`` hold is no text.

    Args:
        texts: text, null allowed.
    """
    marked = (texts.str.contains("[<&]") & texts.is_not_null()).arg_true()
    if len(marked):
        values = [_without_markup(text) for text in texts.gather(marked).to_list()]
        texts = texts.clone().scatter(marked, values)  # scatter changes its own
    texts = texts.str.replace_all(r"[\s\x00]+", " ").str.strip_chars()
    return pl.select(pl.when(texts != "").then(texts).alias(texts.name)).to_series()


def _without_markup(text: str) -> str:
    parser = _Text()
    parser.feed(text)
    parser.close()
    return "".join(parser.pieces)


class _Text(HTMLParser):
    """Collects the text of a page's piece."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._unseen = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A tag parts words, except those that only change how a word looks."""
        self._unseen = tag in _UNSEEN
        self._part(tag)
        if tag == "img":
            self.pieces.append(f"{dict(attrs).get('alt') or ''} ")

    def handle_endtag(self, tag: str) -> None:
        """As the start does."""
        self._unseen = False
        self._part(tag)

    def handle_data(self, data: str) -> None:
        """Text between tags."""
        if not self._unseen:
            self.pieces.append(data)

    def _part(self, tag: str) -> None:
        if tag not in ("b", "i", "u", "em", "strong", "span", "a", "font", "sup", "sub"):
            self.pieces.append(" ")

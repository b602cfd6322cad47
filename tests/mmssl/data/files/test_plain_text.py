import polars as pl
import pytest

from mmssl.data.files.plain_text import plain


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("  a\n\tb  ", "a b"),
        ("Tom &amp; Jerry &#39;s", "Tom & Jerry 's"),
        ("one<br>two<p>three</p>four", "one two three four"),
        ("wo<b>rd</b>s", "words"),
        ("a<style>.x { color: red }</style><script>if (1 < 2) {}</script>b", "a b"),
        ('<img src="x.png" alt="FASHION"/>', "FASHION"),
        ("<img src='x.png'>", None),
        ("2 < 3 > 1 & AT&T", "2 < 3 > 1 & AT&T"),
        ("<!-- no -->yes", "yes"),
        ("", None),
        (None, None),
    ],
)
def test_markup_is_taken_out(text, wanted):
    values = pl.Series("t", ["same", text], dtype=pl.String)
    assert plain(values).to_list() == ["same", wanted]
    assert values.to_list() == ["same", text]

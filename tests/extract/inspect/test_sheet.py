"""The sheet, from a store to the page that a browser gets."""

import csv
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile
from PIL import Image

from extract.errors import InputError
from extract.inspect.items import ItemSource
from extract.inspect.page import write_page
from extract.inspect.sheet import SheetOptions, gather, sheet_options
from extract.inspect.vectors import ok_items

HOSTILE = (
    '"><script>alert(1)</script>',
    "' onerror='alert(2)",
    "</style><img src=http://evil.example/x.png onerror=alert(3)>",
    "a\u202eb\x07c",
    "שלום עולם",
    "&lt;b&gt;",
)
# Two clouds: each item's nearest are those of its own cloud.
VALUES = np.array([[5, 0], [5, 1], [5, 2], [-5, 0.5], [-5, 1.5], [-5, 2.5]])


class Page(HTMLParser):
    """Tags, attributes and text, as a browser would take them apart."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._in_style = False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._in_style = tag == "style"

    def handle_endtag(self, tag):
        self._in_style = False

    def handle_data(self, data):
        if not self._in_style:
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(store, tmp_path, source=None, report=("items 6",), **options):
    options = SheetOptions(tmp_path / "sheet.html", source=source, **options)
    write_page(options.file, gather(ok_items(store), options), list(report))
    return Page(options.file.read_text(encoding="utf-8"))


@pytest.fixture
def table(tmp_path):
    """Items under hostile ids, with texts, pictures and sounds; one picture is no picture."""
    for row in range(6):
        Image.new("RGB", (300, 200), (40 * row, 0, 0)).save(tmp_path / f"{row}.png")
        soundfile.write(tmp_path / f"{row}.wav", np.full(4000, 0.1 * (row + 1)), 8000)
    (tmp_path / "5.png").write_text("<html>")
    with (tmp_path / "items.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["item_id", "image", "text", "audio", "kind"])
        for row, name in enumerate(HOSTILE):
            writer.writerow([name, f"{row}.png", f"text of {name}", f"{row}.wav", name[0]])
    return tmp_path / "items.csv"


def test_what_comes_from_data_is_never_markup(make_store, table, tmp_path):
    store = make_store(VALUES, HOSTILE, modality="image", encoder="x:<script>?a=b")
    source = ItemSource(table)
    page = page_of(
        store, tmp_path, source, report=["  <script>"], queries=6, neighbours=2, label="kind"
    )
    kinds = {name for name, _ in page.tags}
    assert not kinds & {"script", "iframe", "object", "form", "a", "base"}
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, attributes)
    shown = page.text.replace("\n", " ")
    for name in HOSTILE:
        # A control character is shown by its escape.
        assert name.replace("\x07", "\\x07").replace("\u202e", "\\u202e") in shown
    assert "\u202e" not in shown
    (policy,) = [m["content"] for m in page.all("meta") if "http-equiv" in m]
    assert policy.startswith("default-src 'none'")


def test_pictures_texts_and_sounds_are_shown_and_what_fails_says_why(make_store, table, tmp_path):
    store = make_store(VALUES, HOSTILE, modality="image")
    page = page_of(store, tmp_path, ItemSource(table), queries=6, neighbours=2)
    pictures, sounds = page.all("img"), page.all("audio")
    # Six rows of three cards; the item whose picture is broken stands on three of them.
    assert (len(pictures), len(sounds)) == (15, 18)
    assert all(p["alt"].startswith("Picture of ") for p in pictures)
    assert all(s["aria-label"].startswith("Sound of ") and "controls" in s for s in sounds)
    assert page.text.count("image: an HTML page, not a picture") == 3
    assert page.text.count("no picture") == 3
    assert page.text.count("0.5 s") == 18


def test_neighbours_stand_in_order_with_their_cosine(make_store, cosines, tmp_path):
    page = page_of(make_store(VALUES), tmp_path, queries=6, neighbours=2)
    similar = cosines(VALUES)
    wanted = [
        f"{similar[item, other]:.3f}"
        for item in range(6)
        for other in np.argsort(-similar[item])[:2]
    ]
    assert re.findall(r"cosine (-?\d\.\d+)", page.text) == wanted
    assert len(page.all("h2")) == 6
    assert page.all("img") == []
    assert "no picture" not in page.text
    assert "All 6 items" in page.text


def test_labels_are_shown_and_counted(make_store, tmp_path):
    path = tmp_path / "items.csv"
    path.write_text(
        "id,text,kind\n" + "".join(f"i{r},t{r},{'xxyzz'[r : r + 1]}\n" for r in range(6))
    )
    options = SheetOptions(
        tmp_path / "s.html", queries=6, neighbours=2, source=ItemSource(path), label="kind"
    )
    sheet = gather(ok_items(make_store(VALUES)), options)
    # The clouds are x x y and z z -: four of eight pairs with labels, each way counted.
    assert sheet.same_label() == (4, 8)
    page = page_of(
        make_store(VALUES, name="b"),
        tmp_path,
        ItemSource(path),
        queries=6,
        neighbours=2,
        label="kind",
    )
    assert page.text.count("same label") == 4
    assert "4 of 8 bear the label of the item drawn" in page.text


def test_the_sample_follows_the_seed(make_store, tmp_path):
    store = make_store(np.random.default_rng(0).normal(size=(60, 3)), rows_per_part=7)

    def drawn(seed):
        options = SheetOptions(tmp_path / "s.html", queries=5, neighbours=1, seed=seed)
        return [row.query.id for row in gather(ok_items(store), options).rows]

    assert len(set(drawn(1))) == 5
    assert drawn(1) == drawn(1) != drawn(2)


def test_an_item_that_left_the_table_is_said(make_store, tmp_path):
    (tmp_path / "items.csv").write_text("id,text\ni0,zero\n")
    page = page_of(
        make_store(VALUES), tmp_path, ItemSource(tmp_path / "items.csv"), queries=6, neighbours=1
    )
    assert page.text.count("zero") == 2
    assert page.text.count("not in the item table") == 10


def test_a_store_takes_its_own_longest_sound(make_store, table, tmp_path):
    store = make_store(VALUES, HOSTILE, modality="audio", decoding={"max_seconds": 0.4})
    page = page_of(store, tmp_path, ItemSource(table), queries=1, neighbours=1)
    assert page.all("audio") == []
    assert page.text.count("audio: sound too long (more than 0.4 seconds)") == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"neighbours": 6}, "6 items have a vector, too few to show 6 neighbours"),
        ({"queries": 0}, "at least 1 of each"),
        ({"neighbours": -1}, "at least 1 of each"),
        ({"table": "id,text\nother,x\n"}, "holds none of the"),
        ({"table": "id,text\ni0,x\n", "label": "kind"}, "no column 'kind', named by --label"),
    ],
)
def test_sheets_that_cannot_be_made(make_store, tmp_path, options, words):
    source = None
    if table := options.pop("table", None):
        (tmp_path / "items.csv").write_text(table)
        source = ItemSource(tmp_path / "items.csv")
    made = SheetOptions(tmp_path / "s.html", source=source, **{"neighbours": 2} | options)
    with pytest.raises(InputError, match=words):
        gather(ok_items(make_store(VALUES)), made)
    assert not made.file.exists()


def test_options_of_the_command_line(tmp_path):
    given = dict.fromkeys(
        (
            "items",
            "id_column",
            "columns",
            "text_template",
            "media_roots",
            "label",
            "queries",
            "neighbours",
        )
    )
    assert sheet_options(None, **given, seed=3) is None
    made = sheet_options(tmp_path / "s.html", **given, seed=3)
    assert (made.queries, made.neighbours, made.seed, made.source) == (20, 6, 3, None)
    full = given | {
        "items": tmp_path,
        "columns": ["a"],
        "media_roots": [tmp_path],
        "queries": 2,
        "neighbours": 3,
        "label": "l",
    }
    made = sheet_options(tmp_path / "s.html", **full, seed=0)
    assert (made.queries, made.neighbours, made.label) == (2, 3, "l")
    assert made.source == ItemSource(tmp_path, None, ("a",), None, (tmp_path,))

from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from examples.quickstart.page import Facts, Item, Shelf, draw_users, write

FACTS = Facts(
    source="Pictures from <somewhere> & elsewhere.",
    recall=0.4321,
    popularity=0.0765,
    users=1200,
    items=3,
    likes=7227,
    encoders={"image": "packaged:efficientnet-lite0"},
    missing={"image": 0},
)
ITEMS = {
    "a": Item("media/a b#1.png", 'A "cat" <script>alert(1)</script>', "media/a b?.ogg", "effect"),
    "b": Item("media/b.png", "A dog.", "media/b.ogg", "spoken French"),
    "c": Item("media/c.png", "A fish.", None, None),
}


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def page(tmp_path):
    write(
        tmp_path / "index.html",
        FACTS,
        ITEMS,
        [Shelf("user-0001", ["animals & co"], ["a"], ["b", "c"], {"b"})],
    )
    return Page((tmp_path / "index.html").read_text(encoding="utf-8"))


def test_the_page_says_what_is_simulated_and_shows_popularity_beside_the_model(page):
    words = " ".join(page.text.split())
    assert "The users are simulated." in words
    assert "1,200 users and their 7,227 likes" in words
    assert "MMSSL 0.4321 Popularity 0.0765" in words
    assert "Simulated tastes: animals & co" in words
    assert "Pictures from <somewhere> & elsewhere." in words


def test_words_from_data_are_text_and_paths_are_quoted(page):
    assert [i["alt"] for i in page.all("img")] == [ITEMS[x].text for x in "abc"]
    assert page.all("img")[0]["src"] == "media/a%20b%231.png"
    assert len(page.all("script")) == 1
    sounds = [unquote(b["data-sound"]) for b in page.all("button")]
    assert sounds == ["media/a b?.ogg", "media/b.ogg"]
    assert page.all("button")[0]["aria-label"] == 'Play: A "cat" <script>alert(1)</script>'
    assert page.all("button")[1]["aria-label"] == "Play: A dog. (French)"


def test_a_held_out_like_is_marked_and_a_missing_sound_is_named(page):
    assert [i["class"] for i in page.all("li")] == ["item", "item hit", "item"]
    assert [s["class"] for s in page.all("span") if s.get("class") == "badge"] == ["badge"]
    assert page.text.count("no sound") == 1


def test_nothing_is_loaded_from_elsewhere(page):
    links = [a.get("src") or a.get("href") for t, a in page.tags if t in {"img", "link", "script"}]
    assert not [x for x in links if x and (x.startswith("/") or "//" in x)]


def test_users_are_drawn_without_looking_at_their_results():
    users = [f"u{n}" for n in range(50)]
    drawn = draw_users(users, 6, seed=1)
    assert drawn == draw_users(users[::-1], 6, seed=1)
    assert len(set(drawn)) == 6
    assert draw_users(["only"], 6, seed=1) == ["only"]

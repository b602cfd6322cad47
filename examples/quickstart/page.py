"""The page that shows what was recommended: one HTML file beside the media, no other resource."""

import random
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from extract.files import write_text

HERE = Path(__file__).parent
LIKED_SHOWN = 12
# Sounds that are in another language than the page.
FRENCH = "spoken French"


@dataclass(frozen=True)
class Item:
    """What is shown of an item; paths are relative to the page's folder."""

    image: str
    text: str
    audio: str | None
    sound: str | None


@dataclass(frozen=True)
class Shelf:
    """One simulated user: what they liked, what was recommended, what was held out."""

    user: str
    tastes: list[str]
    liked: list[str]
    recommended: list[str]
    held_out: set[str]


@dataclass(frozen=True)
class Facts:
    """What the page says about the run."""

    source: str
    recall: float
    popularity: float
    users: int
    items: int
    likes: int
    encoders: dict[str, str]
    missing: dict[str, int]


def draw_users(users: list[str], count: int, seed: int) -> list[str]:
    """The users to show, drawn at random, so that nobody picks the ones that look best."""
    return sorted(random.Random(seed).sample(sorted(users), min(count, len(users))))


def write(path: Path, facts: Facts, items: dict[str, Item], shelves: list[Shelf]) -> None:
    """Write the page atomically; every word that comes from data is escaped."""
    people = "\n".join(_person(shelf, items) for shelf in shelves)
    style = (HERE / "page.css").read_text(encoding="utf-8")
    script = (HERE / "page.js").read_text(encoding="utf-8")
    write_text(
        path,
        f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Quickstart: recommendations from pictures, words and sounds</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
{_header(facts, len(shelves))}
<main>
{people}
</main>
<footer class="soft">
<p>{escape(facts.source)}</p>
<p>Written by the MMSSL toolkit's quickstart. The README says how to go on by hand.</p>
</footer>
<script>
{script}</script>
</body>
</html>
""",
    )


def _header(facts: Facts, shown: int) -> str:
    encoders = "".join(
        f"<dt>{escape(modality.capitalize())}</dt><dd><code>{escape(uri)}</code>"
        f"{_missing(facts.missing.get(modality, 0))}</dd>"
        for modality, uri in facts.encoders.items()
    )
    return f"""<header>
<h1>Recommendations from pictures, words and sounds</h1>
<p class="soft">Each item became embeddings by three pretrained encoders; MMSSL learned
from them and from who liked what.</p>
<p class="notice" role="note"><strong>The users are simulated.</strong> Nobody real liked these
items: {facts.users:,} users and their {facts.likes:,} likes were drawn from category tastes,
popularity and noise. Pictures, words, sounds, embeddings, training and recommendations are real.
The model is told neither the categories nor the tastes.</p>
<div class="figures">
<section class="figure" aria-labelledby="measured">
<h2 id="measured">Validation Recall@20</h2>
<p class="soft">The share of a user's held-out likes among 20 recommendations, over all
{facts.items:,} items.</p>
<div class="bars">
<span>MMSSL</span>
{_bar(facts.recall, "ours")}
<span class="number">{facts.recall:.4f}</span>
<span>Popularity</span>
{_bar(facts.popularity, "plain")}
<span class="number">{facts.popularity:.4f}</span>
</div>
</section>
<section class="figure" aria-labelledby="encoders">
<h2 id="encoders">Encoders</h2>
<dl>{encoders}</dl>
</section>
</div>
<p>Below are {shown} of the users, drawn at random. A frame marks a recommendation that is one of
the user's held-out likes: the model had not seen it.</p>
</header>"""


def _bar(share: float, kind: str) -> str:
    return (
        f'<div class="bar" aria-hidden="true">'
        f'<span class="{kind}" style="width:{share:.1%}"></span></div>'
    )


def _missing(count: int) -> str:
    return f"<br><span class='soft'>nothing usable in {count:,} items</span>" if count else ""


def _person(shelf: Shelf, items: dict[str, Item]) -> str:
    user = escape(shelf.user)
    liked = "\n".join(_card(items[item]) for item in shelf.liked[:LIKED_SHOWN])
    recommended = "\n".join(
        _card(items[item], rank=rank, hit=item in shelf.held_out)
        for rank, item in enumerate(shelf.recommended, start=1)
    )
    more = len(shelf.liked) - LIKED_SHOWN
    return f"""<section class="user" aria-labelledby="{user}">
<h2 id="{user}">{user}</h2>
<p class="soft">Simulated tastes: {escape(", ".join(shelf.tastes))}</p>
<h3>Liked{f" (the first {LIKED_SHOWN} of {len(shelf.liked)})" if more > 0 else ""}</h3>
<ul class="grid">
{liked}
</ul>
<h3>Recommended</h3>
<ul class="grid">
{recommended}
</ul>
</section>"""


def _card(item: Item, *, rank: int | None = None, hit: bool = False) -> str:
    text = escape(item.text)
    place = f'<span class="rank">{rank}.</span> ' if rank else ""
    badge = '<span class="badge">held-out like</span>' if hit else ""
    return f"""<li class="item{" hit" if hit else ""}">
<div class="picture"><img src="{_url(item.image)}" alt="{text}" loading="lazy"></div>
<div class="words">{place}{text}</div>
<div class="foot">{_button(item)}{badge}</div>
</li>"""


def _button(item: Item) -> str:
    if item.audio is None:
        return '<span class="soft">no sound</span>'
    kind = " (French)" if item.sound == FRENCH else ""
    return (
        f'<button type="button" data-sound="{_url(item.audio)}" aria-pressed="false"'
        f' aria-label="Play: {escape(item.text)}{kind}">'
        f'<span aria-hidden="true">▶</span> Play{kind}</button>'
    )


def _url(relative: str) -> str:
    return escape(quote(relative))

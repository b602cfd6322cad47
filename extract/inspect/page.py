"""The sheet as one HTML file: no script, no other resource, every word from data escaped."""

import re
from html import escape
from importlib.resources import files
from pathlib import Path

from extract.files import write_text
from extract.inspect.sheet import Card, Row, Sheet
from extract.summary import printable

# Should a word from data ever become markup after all, it can neither run nor fetch anything.
_POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"


def write_page(path: Path, sheet: Sheet, report: list[str]) -> None:
    """Write the page atomically.

    Args:
        path: of the HTML file.
        sheet: what to show.
        report: lines on the store as a whole.

    Raises:
        InputError: the file cannot be written.
    """
    style = files("extract.inspect").joinpath("page.css").read_text(encoding="utf-8")
    modality = sheet.manifest.modality
    # Where some have a picture, those without one say so.
    pictures = any(card.preview.picture for card in sheet.cards())
    rows = "\n".join(
        _row(row, number, pictures=pictures) for number, row in enumerate(sheet.rows, start=1)
    )
    facts = "\n".join(
        # Indented lines are examples: ids, which may be long.
        f'<li class="example">{_breakable(line.strip())}</li>'
        if line.startswith(" ")
        else f"<li>{_words(line)}</li>"
        for line in report
    )
    write_text(
        path,
        f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>Nearest neighbours: {escape(modality)}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<header>
<h1>Nearest neighbours: {escape(modality)}</h1>
<p class="soft"><code>{_words(sheet.manifest.encoder)}</code></p>
<p>{_introduction(sheet)}</p>
<details>
<summary>The store in figures</summary>
<ul class="facts">
{facts}
</ul>
</details>
</header>
<main>
{rows}
</main>
</body>
</html>
""",
    )


def _introduction(sheet: Sheet) -> str:
    drawn = len(sheet.rows)
    which = (
        f"{drawn} of {sheet.items:,} items, drawn at random (seed {sheet.options.seed})"
        if drawn < sheet.items
        else f"All {drawn:,} items"
    )
    same, of = sheet.same_label()
    labels = (
        f" Of the neighbours shown, {same} of {of} bear the label of the item drawn"
        f" (column {_words(repr(sheet.options.label))}); they are marked."
        if of
        else ""
    )
    return (
        f"{which}, each followed by the items whose vectors are nearest. The figure is the cosine"
        " after the mean of all vectors is removed: 1 is the same direction, 0 unrelated. Where the"
        f" neighbours are alike in what matters to people, the encoder fits the catalogue.{labels}"
    )


def _row(row: Row, number: int, *, pictures: bool) -> str:
    near = []
    for card, similarity in row.neighbours:
        same = row.query.label is not None and row.query.label == card.label
        near.append(
            f'<li class="card{" same" if same else ""}"><p class="figure">'
            f'<span class="soft">cosine</span> {similarity:.3f}</p>'
            f"{_content(card, pictures, same=same)}</li>"
        )
    listed = "\n".join(near)
    return f"""<section class="row" aria-labelledby="item-{number}">
<div class="card query"><h2 id="item-{number}" dir="auto">{_breakable(row.query.id)}</h2>
{_content(row.query, pictures, named=False)}</div>
<ol class="near" aria-label="Nearest to item {number}">
{listed}
</ol>
</section>"""


def _content(card: Card, pictures: bool, *, named: bool = True, same: bool = False) -> str:
    preview, name = card.preview, _words(card.id)
    parts = []
    if preview.picture:
        parts.append(
            f'<div class="picture"><img src="{preview.picture}" alt="Picture of {name}"></div>'
        )
    elif pictures:
        parts.append('<div class="picture none">no picture</div>')
    if preview.text:
        parts.append(f'<p class="words" dir="auto">{_words(preview.text)}</p>')
    if preview.sound:
        parts.append(
            f'<audio controls preload="none" aria-label="Sound of {name}"'
            f' src="{preview.sound}"></audio><p class="note">{preview.sound_note}</p>'
        )
    parts += [f'<p class="problem">{_words(problem)}</p>' for problem in preview.problems]
    if card.label is not None:
        badge = ' <span class="badge">same label</span>' if same else ""
        parts.append(f'<p class="label"><bdi>{_words(card.label)}</bdi>{badge}</p>')
    if named:
        parts.append(f'<p class="name" dir="auto">{_breakable(card.id)}</p>')
    return "\n".join(parts)


def _breakable(name: str) -> str:
    """An id, which may go on in the next line after a slash, an underscore, a dot or a hyphen."""
    return "<wbr>".join(_words(piece) for piece in re.split(r"(?<=[/_.-])", name))


def _words(text: str) -> str:
    """Words from data: control characters visible, markup escaped."""
    return escape(printable(text))

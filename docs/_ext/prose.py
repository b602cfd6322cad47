"""Nodes for text that stands in the code: plain words with ``literals``."""

import re

from docutils import nodes


def inline(text: str) -> list[nodes.Node]:
    """Words as they are, and what stands between double backquotes as code."""
    found: list[nodes.Node] = []
    for n, piece in enumerate(re.split(r"``(.+?)``", " ".join(text.split()))):
        if piece:
            found.append(nodes.literal(text=piece) if n % 2 else nodes.Text(piece))
    return found


def paragraphs(text: str) -> list[nodes.Node]:
    """A paragraph for each that an empty line ends."""
    return [
        nodes.paragraph("", "", *inline(piece))
        for piece in re.split(r"\n\s*\n", text.strip())
        if piece.strip()
    ]


def entry(term: list[nodes.Node], anchor: str, body: list[nodes.Node]) -> nodes.Node:
    """One entry of a definition list, which links may name by its anchor."""
    return nodes.definition_list_item(
        "",
        nodes.term("", "", *term, ids=[anchor], names=[anchor]),
        nodes.definition("", *body),
    )

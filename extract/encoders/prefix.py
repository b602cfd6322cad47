"""What stands before a text because its model was trained so."""

import re

from extract.encoders.uri import EncoderURI

# E5 (arXiv 2212.03533) was trained with "query: " and "passage: ". Its instruct kin takes passages
# as they are.
_E5 = re.compile(r"(^|[-_])e5[-_](small|base|large)([-_.]|$)", re.IGNORECASE)
NONE = "none"


def usual_prefix(uri: EncoderURI) -> str:
    """What an item's text gets by the model's name: ``passage: `` for E5, else nothing."""
    name = uri.label.rsplit("/", 1)[-1]
    return "passage: " if _E5.search(name) and "instruct" not in name.lower() else ""


def prefix_from(uri: EncoderURI) -> str:
    """The text that ``prefix=`` names; ``none`` is the empty one; by default the usual one."""
    asked = uri.options.get("prefix")
    if asked is None:
        return usual_prefix(uri)
    return "" if asked.strip() == NONE else asked

"""What was meant by an encoder's name without a scheme, found without importing its library."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

# How torchvision and timm alike mark a function that builds a network.
_NETWORK = re.compile(r"^@register_model\b.*\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def meant(text: str) -> str | None:
    """The URI that a text without a colon stands for; None where it is not plain which.

    Args:
        text: ``name[@revision][?key=value&...]``.
    """
    # Not at the top: this module is imported by those that the encoders are built from.
    from extract.encoders.packaged import PACKAGES

    text = text.strip()
    name = re.split("[@?]", text, maxsplit=1)[0]
    rest = text[len(name) :]
    if _HUB_NAME.fullmatch(name):
        owner, _, model = name.partition("/")
        if owner == "timm":
            return f"timm:{model}{rest}"
        return f"{'st' if owner == 'sentence-transformers' else 'hf'}:{text}"
    lower = name.lower()
    if lower in PACKAGES:
        return f"packaged:{lower}{rest}"
    # timm's names may bear the name of their weights behind a dot.
    for library, network in (("torchvision", lower), ("timm", lower.partition(".")[0])):
        if network in _networks(library):
            return f"{library}:{lower}{rest}"
    return None


def _networks(library: str) -> Iterator[str]:
    """The networks that an installed library builds, as its source has them."""
    spec = find_spec(library)
    if spec is None or spec.origin is None:
        return
    for file in sorted((Path(spec.origin).parent / "models").glob("*.py")):
        yield from _NETWORK.findall(file.read_text(encoding="utf-8"))

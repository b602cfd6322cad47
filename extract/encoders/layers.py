"""Several layers of a network in one pass: each is pooled, and the vectors stand side by side."""

import re
from collections.abc import Sequence
from typing import Any

import torch

from extract.encoders.uri import EncoderURI


class Layers:
    """The layers that ``layer=A,B`` names, and how wide each one's vector is."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.widths: tuple[int, ...] = ()
        """Known once something was encoded."""

    def join(self, vectors: Sequence[torch.Tensor]) -> torch.Tensor:
        """One (n, d) a layer to (n, sum of d), in the order of the names."""
        self.widths = tuple(vector.shape[1] for vector in vectors)
        return vectors[0] if len(vectors) == 1 else torch.cat(list(vectors), dim=1)

    def describe(self) -> dict[str, Any]:
        """For a fingerprint: ``layers``, each one's name and width; nothing for fewer than two."""
        if len(self.names) < 2:
            return {}
        return {"layers": [list(pair) for pair in zip(self.names, self.widths, strict=True)]}


def layer_numbers(uri: EncoderURI) -> tuple[int, ...]:
    """The whole numbers that ``layer=`` names, in their order; none where it is absent.

    Raises:
        InputError: a part is not a whole number, or stands there twice.
    """
    numbers = []
    for name in uri.names("layer"):
        if not re.fullmatch(r"[+-]?\d{1,9}", name):
            uri.refuse(f"option layer={name} is not a whole number")
        numbers.append(int(name))
    return tuple(numbers)


def recorded(numbers: Sequence[int]) -> int | list[int] | None:
    """``layer`` as a fingerprint holds it: None, the one number, or all of them."""
    if not numbers:
        return None
    return numbers[0] if len(numbers) == 1 else list(numbers)


def refuse_repeated(uri: EncoderURI, numbers: Sequence[int], meant: Sequence[int]) -> None:
    """Refuse two numbers that mean one layer, as 2 and -1 of three.

    Args:
        uri: what to name in the error.
        numbers: as a person wrote them.
        meant: what each of them means, counted from the start.

    Raises:
        InputError: two numbers mean the same layer.
    """
    for i, layer in enumerate(meant):
        if (first := meant.index(layer)) < i:
            uri.refuse(f"option layer=: {numbers[first]} and {numbers[i]} are the same layer")

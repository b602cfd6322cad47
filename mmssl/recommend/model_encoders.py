"""Which of the encoders that a model names can encode new media: never a person's own code."""

from typing import Literal

from extract.encoders.registry import SCHEMES
from extract.encoders.uri import parse_uri

Obstacle = Literal["made elsewhere", "transformed", "own code"]
"""Why an encoder that a model names is no help, whatever is installed here."""


def obstacle(recorded: str | None) -> Obstacle | None:
    """Why a modality of a model cannot be encoded as its features were; None where it can.

    A model folder may come from anybody. Of the encoders that it names only built-in and installed
    ones are loaded; a class of a person's own has to be typed by the person.

    Args:
        recorded: the encoder of the features, as ``ModelInfo.encoders`` has it.

    Raises:
        InputError: it is no encoder URI.
    """
    if recorded is None:
        return "made elsewhere"
    if " + " in recorded:
        return "transformed"
    return None if parse_uri(recorded).scheme in (*SCHEMES, "plugin") else "own code"

"""An encoder on its device, held to its contract; what an extraction does before its first item."""

import json
from typing import Any

import torch

from extract.device import resolve_device
from extract.encoders.base import Encoder, Modality
from extract.errors import InputError


def ready_encoder(
    name: str,
    modality: Modality,
    *,
    device: str,
    dtype: str,
    compiled: bool = False,
    frames_at_once: int = 32,
    given: Encoder | None = None,
) -> Encoder:
    """The encoder on its device.

    Args:
        name: its URI, typed by a person; or what it is called where one was handed over.
        modality: what it is to encode.
        device: as ``resolve_device`` takes it.
        dtype: floating dtype, by torch's name.
        compiled: run its networks through ``torch.compile``.
        frames_at_once: the most frames of videos that an encoder of pictures sees at once.
        given: an encoder object, taken instead of loading ``name``.

    Raises:
        InputError: it cannot be loaded or moved, or does not keep the contract.
    """
    from extract.encoders.check import contract_problem
    from extract.encoders.registry import load_encoder
    from extract.encoders.video import as_encoder_of

    place, precision = resolve_device(device), getattr(torch, dtype)
    try:
        if given is None:
            moved: object = load_encoder(
                name, modality, device=place, dtype=precision, frames_at_once=frames_at_once
            )
        else:
            given = as_encoder_of(given, modality, frames_at_once)
            problem = contract_problem(given, modality)
            moved = given if problem else given.to(place, precision)
    except InputError:
        raise
    except Exception as error:  # somebody's code: whatever it raises is the finding
        raise InputError(
            f"encoder {name}: could not be made ready on {place} as {dtype}"
            f" ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(moved, Encoder):
        raise InputError(
            f"encoder {name}: to() must return the encoder; it returned {type(moved).__name__}"
        )
    if problem := contract_problem(moved, modality):
        raise InputError(f"encoder {name}: {problem}")
    if compiled:
        from extract.encoders.compilation import compile_encoder

        compile_encoder(moved, modality)
    return moved


def plain_fingerprint(encoder: Encoder, name: str, *, compiled: bool) -> dict[str, Any]:
    """The encoder's fingerprint as it will be read back from JSON.

    Args:
        encoder: it need not be compiled itself.
        name: what it is called in a message.
        compiled: whether the vectors come from compiled networks.

    Raises:
        InputError: it fails, or is not plain JSON.
    """
    try:
        # Through JSON, so that a tuple equals the list it will be read back as.
        fingerprint = json.loads(json.dumps(encoder.fingerprint(), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(f"encoder {name}: its fingerprint is not plain JSON ({error})") from error
    except Exception as error:
        raise InputError(
            f"encoder {name}: fingerprint() failed ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(fingerprint, dict):
        raise InputError(
            f"encoder {name}: fingerprint() must give a dict; it gave {type(fingerprint).__name__}"
        )
    if compiled:
        # Compiled code rounds otherwise: one store holds vectors of one kind.
        fingerprint["compiled"] = True
    return fingerprint

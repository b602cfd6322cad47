"""``--compile``: an encoder's networks through ``torch.compile``, tried before any item is read."""

import torch

from extract.encoders.base import Encoder, Modality
from extract.encoders.check import samples
from extract.errors import InputError


def compile_encoder(encoder: Encoder, modality: Modality) -> None:
    """Compile an encoder that is on its device, and encode samples with it.

    PyTorch compiles when a network is first called: without this an item table would be read before
    a missing compiler shows, and every item would fail because of it.

    Raises:
        InputError: the encoder has nothing to compile, or it cannot be compiled here.
    """
    encoder.compile()
    try:
        with torch.inference_mode():
            prepared = [encoder.preprocess(raw) for raw in samples(modality)[:2]]
            # A batch of one gets code of its own.
            encoder.encode(prepared)
            encoder.encode(prepared[:1])
    except InputError:
        raise
    except Exception as error:
        # Dynamo wraps what went wrong: its own words come first, advice for developers behind.
        reason = str(error).strip().partition("\n")[0][:200]
        raise InputError(
            f"--compile: PyTorch cannot compile this encoder here ({type(error).__name__}:"
            f" {reason}); it needs a C++ compiler (g++), on GPUs Triton: install it, or leave"
            " --compile out"
        ) from error

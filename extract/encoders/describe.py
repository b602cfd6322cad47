"""What the command line prints about encoders."""

import json

import torch

from extract.device import resolve_device
from extract.encoders.base import Modality
from extract.encoders.check import check_encoder
from extract.encoders.registry import (
    SCHEMES,
    encoder_modalities,
    install_hint,
    list_encoders,
    load_encoder,
    option_hint,
)
from extract.errors import InputError


def list_lines(modality: Modality | None, pattern: str) -> list[str]:
    """The encoders of a modality that match a pattern: URI, modalities, what it is.

    Behind them a line a scheme: the options that its URIs take.

    Raises:
        InputError: nothing matches.
    """
    infos = list_encoders(modality, pattern)
    if not infos:
        among = f" for {modality}" if modality else ""
        raise InputError(
            f"no listed encoder{among} matches '{pattern}'; a model of a hub need not be listed:"
            " type its URI"
        )
    width = max(len(info.uri) for info in infos)
    listed = {info.uri.partition(":")[0] for info in infos}
    return [
        *(f"{info.uri:<{width}}  {','.join(info.modalities):<10}  {info.about}" for info in infos),
        *(f"options of {name}: {s.options}" for name, s in SCHEMES.items() if name in listed),
    ]


def show_lines(uri: str, modality: Modality | None, device: str) -> list[str]:
    """What an encoder is; of several modalities, as an encoder of the given or the first one.

    Raises:
        InputError: as ``load_encoder``.
    """
    modalities = encoder_modalities(uri)
    shown = modality or modalities[0]
    encoder = load_encoder(uri, shown, device=resolve_device(device), dtype=torch.float32)
    try:
        fingerprint = json.dumps(encoder.fingerprint(), indent=2, ensure_ascii=False)
    except (Exception, SystemExit) as error:  # somebody's code: whatever it raises
        text = " ".join(str(error).split())
        raise InputError(
            f"encoder {uri}: its fingerprint() gives no JSON ({type(error).__name__}: {text})"
        ) from error
    return [
        f"encoder: {uri}",
        f"modalities: {', '.join(modalities)}",
        f"shown as an encoder of: {shown}",
        f"dim: {encoder.dim}",
        f"space: {encoder.space}",
        f"install: {install_hint(uri)}",
        f"options: {option_hint(uri)}",
        f"fingerprint: {fingerprint}",
    ]


def check_lines(uri: str, device: str) -> tuple[list[str], bool]:
    """Run the contract for every modality of an encoder: a line a check, and whether all hold.

    Raises:
        InputError: the encoder cannot be loaded.
    """
    lines, passed = [], True
    left = list(encoder_modalities(uri))
    while left:
        encoder = load_encoder(uri, left[0], device=resolve_device(device), dtype=torch.float32)
        for result in check_encoder(encoder):
            lines.append(f"{'ok' if result.passed else 'FAILED':<8}{result.line}")
            passed = passed and result.passed
        # One object may encode several modalities, as one's own does; towers are loaded in turn.
        left = [name for name in left if name not in encoder.modalities]
    return lines, passed

"""The contract of an encoder, run on anyone's encoder."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image

from extract.encoders.base import (
    MODALITIES,
    Encoder,
    Modality,
    Raw,
    Video,
    Waveform,
    are_modalities,
)

MAX_DIM = 1_000_000
"""Longer vectors are a slip: a thousand items would need more than 4 GB."""

_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-6}
_HALF_TOLERANCE = 3e-2


@dataclass(frozen=True)
class CheckResult:
    """One check by its name; ``reason`` says what was found where it failed, else it is empty."""

    name: str
    passed: bool
    reason: str = ""

    @property
    def line(self) -> str:
        """Name and reason."""
        return f"{self.name}: {self.reason}" if self.reason else self.name


class BrokenContractError(Exception):
    """What a check found."""


def samples(modality: Modality) -> list[Raw]:
    """Four unlike media, of several sizes and lengths, always the same."""
    rng = np.random.default_rng(0)
    sizes = [(48, 32), (32, 48), (64, 64), (120, 31)]

    def picture(width: int, height: int, darkness: int) -> Image.Image:
        shape = (height, width, 3)
        return Image.fromarray(rng.integers(0, 256 // (darkness + 1), shape, dtype=np.uint8))

    if modality == "image":
        return [picture(w, h, i) for i, (w, h) in enumerate(sizes)]
    if modality == "text":
        return ["red shoes", "A train crosses the bridge.", "two cats " * 40, "Größe – 東京 🎉"]
    if modality == "video":
        return [
            Video(tuple(picture(w, h, i + k) for k in range(3)), (0.5, 1.5, 2.5))
            for i, (w, h) in enumerate(sizes)
        ]
    sounds: list[Raw] = []
    for seconds, rate, pitch in ((1.0, 16_000, 220), (0.4, 44_100, 880), (2.3, 22_050, 440)):
        time = np.arange(int(seconds * rate)) / rate
        tone = 0.3 * np.sin(2 * np.pi * pitch * time) + 0.05 * rng.standard_normal(len(time))
        sounds.append(Waveform(tone.astype(np.float32), rate))
    noise = 0.1 * rng.standard_normal(8_000)
    return [*sounds, Waveform(noise.astype(np.float32), 16_000)]


def check_encoder(encoder: Encoder) -> list[CheckResult]:
    """Run the contract: attributes, fingerprint, then for each modality what comes out.

    Every exception of the encoder becomes a failed check that names it. Checks that depend on a
    failed one are left out.

    Returns:
        One result a check, in the order in which they ran.
    """
    results = [
        _run("modalities", lambda: _check_modalities(encoder)),
        _run("dim", lambda: _check_dim(encoder)),
        _run("space", lambda: _check_space(encoder)),
        _run("fingerprint", lambda: _check_fingerprint(encoder)),
    ]
    if not all(result.passed for result in results[:2]):
        return results
    for modality in encoder.modalities:
        results.extend(_check_modality(encoder, modality))
    return results


def contract_problem(encoder: Encoder, modality: Modality) -> str | None:
    """What is wrong with the attributes of an encoder that is to encode a modality, in one line.

    None where its modalities, dim and space are usable; nothing is encoded.
    """
    for name, check in (
        ("modalities", _check_modalities),
        ("dim", _check_dim),
        ("space", _check_space),
    ):
        result = _run(name, partial(check, encoder))
        if not result.passed:
            return result.line
    if modality not in encoder.modalities:
        return f"takes {' and '.join(encoder.modalities)}, not {modality}"
    return None


def _run(name: str, check: Callable[[], None]) -> CheckResult:
    try:
        with torch.inference_mode():
            check()
    except BrokenContractError as problem:
        return CheckResult(name, False, str(problem))
    except (Exception, SystemExit) as error:  # somebody's code: whatever it raises is the finding
        text = " ".join(str(error).split())
        return CheckResult(name, False, f"{type(error).__name__}: {text}")
    return CheckResult(name, True)


def _check_modalities(encoder: Encoder) -> None:
    given: Any = encoder.modalities
    if not are_modalities(given):
        raise BrokenContractError(
            f"must be a tuple of some of {', '.join(MODALITIES)}; it is {given!r}"
        )


def _check_dim(encoder: Encoder) -> None:
    if not isinstance(encoder.dim, int) or encoder.dim < 1:
        raise BrokenContractError(f"must be a whole number above 0; it is {encoder.dim!r}")
    if encoder.dim > MAX_DIM:
        raise BrokenContractError(f"must be at most {MAX_DIM}; it is {encoder.dim}")


def _check_space(encoder: Encoder) -> None:
    if not isinstance(encoder.space, str) or not encoder.space:
        raise BrokenContractError(
            f"must be a text that names the vector space; it is {encoder.space!r}"
        )


def _check_fingerprint(encoder: Encoder) -> None:
    first = encoder.fingerprint()
    if not isinstance(first, dict) or not first:
        raise BrokenContractError(
            f"must be a dict that says what the vectors depend on; it is {first!r}"
        )
    try:
        text = json.dumps(first, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BrokenContractError(f"is not JSON: {error}") from None
    if json.loads(text) != json.loads(json.dumps(encoder.fingerprint())):
        raise BrokenContractError("differs between two calls")


def _check_modality(encoder: Encoder, modality: Modality) -> Iterator[CheckResult]:
    prepared: list[Any] = []
    batch: list[torch.Tensor] = []

    def preprocess() -> None:
        prepared.extend(encoder.preprocess(raw) for raw in samples(modality))
        if not all(isinstance(encoder.length(item), int) for item in prepared):
            raise BrokenContractError("length() must give a whole number")

    def output() -> None:
        batch.append(_encoded(encoder, prepared))

    for name, check in (("preprocess", preprocess), ("output", output)):
        result = _run(f"{modality}: {name}", check)
        yield result
        if not result.passed:
            return
    [vectors] = batch
    tolerance = _TOLERANCE.get(vectors.dtype, _HALF_TOLERANCE)

    def same(other: torch.Tensor, what: str) -> None:
        # Row by row: one large vector must not hide what happens to a small one.
        sizes = vectors.float().abs().amax(1).clamp_min(1e-12)
        difference = float(((vectors.float() - other.float()).abs().amax(1) / sizes).max())
        if difference > tolerance:
            raise BrokenContractError(
                f"{what} differ by {difference:.2g} of their size (at most {tolerance:g})"
            )

    def distinct() -> None:
        if all(torch.equal(vectors[0], row) for row in vectors[1:]):
            raise BrokenContractError("four unlike media gave one and the same vector")

    def single() -> None:
        rows = [_encoded(encoder, [item]) for item in prepared]
        same(torch.cat(rows), "vectors from a batch and from single calls")

    def order() -> None:
        same(_encoded(encoder, prepared[::-1]).flip(0), "vectors of a batch and of its reverse")

    def deterministic() -> None:
        again = [encoder.preprocess(raw) for raw in samples(modality)]
        same(_encoded(encoder, again), "vectors of two runs")

    for name, check in (
        ("distinct", distinct),
        ("deterministic", deterministic),
        ("batch equals single", single),
        ("order kept", order),
    ):
        yield _run(f"{modality}: {name}", check)


def _encoded(encoder: Encoder, prepared: Sequence[Any]) -> torch.Tensor:
    vectors = encoder.encode(prepared)
    if not isinstance(vectors, torch.Tensor) or not vectors.is_floating_point():
        raise BrokenContractError(
            f"encode() must give a floating tensor; it gave {type(vectors).__name__}"
        )
    expected = (len(prepared), encoder.dim)
    if tuple(vectors.shape) != expected:
        raise BrokenContractError(
            f"encode() must give shape {expected}; it gave {tuple(vectors.shape)}"
        )
    if not bool(torch.isfinite(vectors).all()):
        raise BrokenContractError("encode() gave NaN or infinity")
    return vectors.cpu()

"""Sounds: one file to one mono waveform at its own sampling rate."""

from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from extract.encoders.base import Waveform
from extract.media.files import MediaError
from extract.media.headers import Stretched, missing_wav_bytes, mp3_length_is_known

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3")

SILENCE = 1e-4
"""Peak amplitude of the mono mix below which a sound is silent: -80 dB of full scale."""

# Outside these a header lies, and resampling from such a rate would need absurd filters.
_RATES = (1_000, 768_000)

_BLOCK_SAMPLES = 2**18

_UNKNOWN_FORMAT = 1


def decode_audio(handle: BinaryIO, max_seconds: float) -> Waveform:
    """Decode a sound and average its channels.

    Read block by block, so that a sound that is too long costs no more memory than the longest one
    allowed, whatever its header says.

    Args:
        handle: a regular file: WAV, FLAC, Ogg (Vorbis, Opus), MP3 or another kind libsndfile knows.
        max_seconds: a longer sound is refused.

    Returns:
        float32 samples, mono, at the file's own rate.

    Raises:
        MediaError: not a sound, damaged, empty, too long, silent, with NaN samples, or shorter than
            its header says. An MP3 whose header does not say is taken as long as it is.
    """
    blocks: list[NDArray[np.float32]] = []
    total = 0
    try:
        with soundfile.SoundFile(handle) as sound:
            rate, expected, kind = sound.samplerate, sound.frames, sound.format
        source: BinaryIO | Stretched = handle
        if kind == "MP3" and not mp3_length_is_known(handle):
            source, expected = Stretched(handle), 0
        elif kind in ("WAV", "WAVEX") and (missing := missing_wav_bytes(handle)):
            raise MediaError(f"sound cut short ({missing} bytes are missing)")
        source.seek(0)
        with soundfile.SoundFile(source) as sound:
            if not _RATES[0] <= rate <= _RATES[1]:
                raise MediaError(f"impossible sampling rate ({rate} Hz)")
            size = max(1, _BLOCK_SAMPLES // sound.channels)
            while len(block := sound.read(size, dtype="float32", always_2d=True)):
                total += len(block)
                if total > max_seconds * rate:
                    raise MediaError(f"sound too long (more than {max_seconds:g} seconds)")
                blocks.append(block.mean(axis=1, dtype=np.float32))
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise MediaError(_reason(error)) from None
    except MemoryError:
        raise MediaError("out of memory while decoding the sound") from None
    if total == 0:
        raise MediaError("empty sound")
    if total < expected < 2**62:
        raise MediaError(f"sound cut short ({total} of {expected} samples)")
    samples = np.concatenate(blocks)
    if not np.isfinite(samples).all():
        raise MediaError("sound with NaN or infinite samples")
    if np.abs(samples).max() < SILENCE:
        raise MediaError("silent")
    return Waveform(samples=samples, sample_rate=rate)


def _reason(error: Exception) -> str:
    # libsndfile's own words, without the file object that soundfile puts before them; for random
    # bytes they may be an odd sentence, or none.
    words = str(getattr(error, "error_string", error)).strip().rstrip(".")
    if getattr(error, "code", None) == _UNKNOWN_FORMAT or not words or "pipe" in words:
        return "not a readable sound"
    return f"sound cannot be decoded ({words})"

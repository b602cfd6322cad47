"""Sounds: one file to one mono waveform at its own sampling rate."""

from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from extract.encoders.base import Waveform
from extract.media.files import MediaError
from extract.media.headers import missing_bytes, mp3_length_is_known
from extract.media.kinds import found_instead
from extract.media.ogg import ogg_links
from extract.media.views import Section, Stretched

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3")

SILENCE = 1e-4
"""Peak amplitude of the mono mix below which a sound is silent: -80 dB of full scale."""

MAX_PEAK = 100.0
"""Amplitude above which samples are no sound: 40 dB beyond full scale. Floating-point files that
hold 16-bit numbers as they are would drown whatever an encoder listens for."""

MAX_SAMPLES = 2**27
"""Samples above which a sound is refused however high its rate: 512 MiB, at 192 kHz 11 minutes."""

MAX_AUDIO_BYTES = 16 * 2**30
"""A larger file is refused unread."""

# Outside these a header lies, and resampling from such a rate would need absurd filters.
_RATES = (1_000, 768_000)

_BLOCK_SAMPLES = 2**18

_UNKNOWN_FORMAT = 1


def decode_audio(handle: BinaryIO, max_seconds: float) -> Waveform:
    """Decode a sound and average its channels; the sounds of a chained Ogg follow one another.

    Read block by block, so that a sound that is too long costs no more memory than the longest one
    allowed, whatever its header says.

    Args:
        handle: a regular file: WAV, FLAC, Ogg (Vorbis, Opus), MP3 or another kind libsndfile knows.
        max_seconds: a longer sound is refused.

    Returns:
        float32 samples, mono, at the file's own rate. An offset and clipping are left as they are;
        files of floating-point samples may exceed 1.

    Raises:
        MediaError: not a sound (what it is instead is named where that can be told), damaged,
            empty, too long, silent, with NaN samples or some beyond ``MAX_PEAK``, or shorter than
            its header says. An MP3 whose header does not say is taken as long as it is.
        OSError: the device fails.
    """
    # One buffer that grows: blocks joined at the end would take twice the memory.
    samples = bytearray()
    total = 0
    sources: list[Section | Stretched] = [Section(handle)]
    try:
        # Before it is opened: of a cut MP3 the decoder complains on standard error.
        if missing := missing_bytes(handle):
            raise MediaError(f"sound cut short ({missing} bytes are missing)")
        with soundfile.SoundFile(sources[0]) as sound:
            rate, expected, kind = sound.samplerate, sound.frames, sound.format
        sources[0].check()
        if kind == "MP3" and not mp3_length_is_known(handle):
            sources, expected = [Stretched(handle)], 0
        elif kind == "OGG":
            links, is_whole = ogg_links(handle)
            if not is_whole:
                raise MediaError("sound cut short (its last Ogg page is not whole)")
            if len(links) > 1:
                sources = [Section(handle, start, end) for start, end in links]
        for source in sources:
            source.seek(0)
            with soundfile.SoundFile(source) as sound:
                check_rate(rate)
                if sound.samplerate != rate:
                    raise MediaError("sound whose sampling rate changes on the way")
                size = max(1, _BLOCK_SAMPLES // sound.channels)
                while len(block := sound.read(size, dtype="float32", always_2d=True)):
                    total += len(block)
                    check_length(total, rate, max_seconds)
                    # Infinities of both signs give NaN, which is found below.
                    with np.errstate(invalid="ignore", over="ignore"):
                        samples += block.mean(axis=1, dtype=np.float32).data
            source.check()
    except (soundfile.SoundFileError, RuntimeError) as error:
        for source in sources:
            source.check()
        raise MediaError(found_instead(handle, "sound") or _reason(error)) from None
    except MemoryError:
        raise MediaError("out of memory while decoding the sound") from None
    if 0 < total < expected < 2**62:
        raise MediaError(f"sound cut short ({total} of {expected} samples)")
    return Waveform(samples=checked(samples), sample_rate=rate)


def check_rate(rate: int) -> None:
    """Refuse a sampling rate, in Hz, that no sound has.

    Raises:
        MediaError: it is outside 1 kHz to 768 kHz.
    """
    if not _RATES[0] <= rate <= _RATES[1]:
        raise MediaError(f"impossible sampling rate ({rate} Hz)")


def check_length(count: int, rate: int, max_seconds: float) -> None:
    """Refuse a sound of which too many samples were read already.

    Raises:
        MediaError: more than ``max_seconds`` at ``rate`` Hz, or than ``MAX_SAMPLES``.
    """
    if count > max_seconds * rate:
        raise MediaError(f"sound too long (more than {max_seconds:g} seconds)")
    if count > MAX_SAMPLES:
        raise MediaError(f"sound too long (more than {MAX_SAMPLES} samples)")


def checked(data: bytearray) -> NDArray[np.float32]:
    """Samples of a whole sound, mono float32, from the bytes that hold them.

    Raises:
        MediaError: empty, silent, with NaN samples, or some beyond ``MAX_PEAK``.
    """
    samples = np.frombuffer(data, np.float32)
    if not len(samples):
        raise MediaError("empty sound")
    # NaN is the maximum and the minimum of whatever holds one.
    peak = max(float(samples.max()), -float(samples.min()))
    if not np.isfinite(peak):
        raise MediaError("sound with NaN or infinite samples")
    if peak > MAX_PEAK:
        raise MediaError(f"samples far beyond full scale (over {MAX_PEAK:g}; full scale is 1)")
    if peak < SILENCE:
        raise MediaError("silent")
    return samples


def _reason(error: Exception) -> str:
    # libsndfile's own words, without the file object that soundfile puts before them; for random
    # bytes they may be an odd sentence, or none.
    words = str(getattr(error, "error_string", error)).strip().rstrip(".")
    if getattr(error, "code", None) == _UNKNOWN_FORMAT or not words or "pipe" in words:
        return "not a readable sound"
    return f"sound cannot be decoded ({words})"

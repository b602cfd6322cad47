"""Sound tracks: the sound of a video file to one mono waveform at its own sampling rate."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from extract.encoders.base import Waveform
from extract.media.audio import check_length, check_rate, checked
from extract.media.containers import Extent, open_container
from extract.media.files import MediaError

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer


def decode_sound_track(handle: BinaryIO, max_seconds: float) -> Waveform:
    """Decode the main sound track of a container and average its channels.

    Args:
        handle: a regular file: MP4, MOV, M4A, Matroska, WebM, AVI, MPEG, FLV, WMV or Ogg.
        max_seconds: a longer sound is refused.

    Returns:
        float32 samples, mono, at the track's own rate.

    Raises:
        MediaError: no sound track, or as ``decode_audio``.
        InputError: PyAV is not installed.
    """
    with open_container(handle, "sound") as container:
        stream = cast("AudioStream | None", container.streams.best("audio"))
        if stream is None:
            raise MediaError("no sound track")
        if stream.codec_context is None:
            raise MediaError("no decoder for the sound track")
        rate, total = 0, 0
        # One buffer that grows, as in decode_audio.
        samples = bytearray()
        for block, at_rate in _blocks(container, stream):
            if not rate:
                check_rate(at_rate)
            rate = at_rate
            total += len(block)
            check_length(total, rate, max_seconds)
            samples += block.data
    return Waveform(samples=checked(samples), sample_rate=rate)


def _blocks(
    container: "InputContainer", stream: "AudioStream"
) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Mono samples and their rate, block by block; at the end it is seen whether all were there."""
    from av.audio.resampler import AudioResampler

    stream.codec_context.thread_count = 1
    # Only the sample format is changed; PyAV keeps the rate and the channels of the first frame.
    resampler = AudioResampler(format="fltp")
    extent = Extent(container, stream)
    for packet in container.demux():
        extent.note(packet)
        if packet.stream_index != stream.index:
            continue
        for frame in stream.decode(packet):
            try:
                converted = resampler.resample(frame)
            except ValueError:
                raise MediaError("sound that changes its format on the way") from None
            for piece in converted:
                # (channels, samples) float32
                yield piece.to_ndarray().mean(axis=0, dtype=np.float32), piece.sample_rate
    for piece in resampler.resample(None):
        yield piece.to_ndarray().mean(axis=0, dtype=np.float32), piece.sample_rate
    extent.check_whole("sound", 0.0)

"""Files that hold pictures and sound side by side: what they look like, and opening them safely."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Literal

from extract.errors import InputError, missing_extra
from extract.media.files import MediaError
from extract.media.kinds import found_instead, is_container

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream

Kind = Literal["video", "sound"]

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm", ".avi", ".wmv", ".flv", ".ogv"),
    *(".mpg", ".mpeg", ".ts", ".m2ts"),
)

MAX_FRAME_PIXELS = 7680 * 4320
"""Width x height ("8K") above which a video is refused: decoders hold up to 16 frames at once."""

MAX_VIDEO_BYTES = 16 * 2**30
"""A larger file is refused unread."""

# No playlist, image sequence or other format that names further files or addresses to be opened.
_FORMATS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg"

# Whose header says how long they are; of others ffmpeg guesses, from the size or the last packets.
_TELL_THEIR_LENGTH = ("mov", "matroska", "avi", "asf", "flv")

_BUFFER = 2**18


def require_pyav(needed_by: str) -> None:
    """Find out whether PyAV is installed.

    Raises:
        InputError: it is not; names the extra to install.
    """
    try:
        import av  # noqa: F401
    except ImportError:
        raise missing_extra("video", needed_by) from None


@contextmanager
def open_container(handle: BinaryIO, kind: Kind) -> Iterator["InputContainer"]:
    """Open a container from an open file, never from a name; ``handle`` stays open.

    Args:
        handle: a file that can be sought in; read from its beginning.
        kind: what it is opened for, as reasons name it.

    Raises:
        MediaError: no container of a known format, or damaged; also in place of whatever PyAV
            raises while the caller reads it.
        OSError: the device fails.
        InputError: PyAV is not installed.
    """
    require_pyav(f"a {kind} in a video file")
    import av

    options = {
        "format_whitelist": _FORMATS,
        # Only the file that was opened: no address or path that stands in it.
        "protocol_whitelist": "",
        "max_pixels": str(MAX_FRAME_PIXELS),
    }
    known = is_container(handle)
    with _as_media_errors(f"{kind}, or cut short" if known else kind):
        try:
            container = av.open(
                handle, "r", options=options, metadata_errors="replace", buffer_size=_BUFFER
            )
        except av.FFmpegError:
            if known:
                raise
            raise MediaError(found_instead(handle, kind) or f"not a readable {kind}") from None
    with _as_media_errors(kind), container:
        yield container


@contextmanager
def _as_media_errors(what: str) -> Iterator[None]:
    import av

    try:
        yield
    except (MediaError, InputError):
        raise
    except MemoryError:  # ffmpeg's is one, too
        raise MediaError(f"out of memory while decoding the {what}") from None
    except Exception as error:
        if isinstance(error, OSError) and not isinstance(error, av.FFmpegError):
            raise  # the device fails
        # As with pictures: damaged bytes make a decoder raise nearly anything, and whatever it is,
        # it must not end the run.
        raise MediaError(f"damaged {what} ({_words(error)})") from None


def _words(error: Exception) -> str:
    # Without the name that PyAV gives to a file that has none, so that like failures are alike.
    words = str(getattr(error, "strerror", None) or error).replace(": '<none>'", "")
    return " ".join(words.split())[:200] or type(error).__name__


class Extent:
    """How far a container's packets reach; tells whether its header promised more."""

    def __init__(self, container: "InputContainer", stream: "Stream") -> None:
        """Watch a container that is about to be demuxed whole, for the sake of one stream."""
        self._container = container
        self._stream = stream
        self._first = float("inf")
        self._end = float("-inf")
        self._last: deque[bool] = deque(maxlen=3)
        self.packets = 0
        """Packets of the stream so far."""

    def note(self, packet: "Packet[Stream]") -> None:
        """Take notice of the next packet."""
        at = packet.pts if packet.pts is not None else packet.dts
        if at is None:  # the empty packet at the end that flushes the decoder
            return
        base = float(packet.time_base)
        self._first = min(self._first, at * base)
        self._end = max(self._end, (at + (packet.duration or 0)) * base)
        if packet.stream_index == self._stream.index:
            self.packets += 1
            self._last.append(packet.is_corrupt)

    def check_whole(self, kind: Kind, gap: float) -> None:
        """Refuse a file whose end is missing.

        Args:
            kind: what the reason names.
            gap: the longest time between two packets, in seconds; the last may well last as long.

        Raises:
            MediaError: the last packet is incomplete, or the header promised more of them.
        """
        if any(self._last):
            raise MediaError(f"{kind} cut short (its last packet is incomplete)")
        name, claimed = self._container.format.name, self._container.duration
        # ffmpeg corrects the duration of an AVI by what it finds, but not the number of frames.
        counted = self._stream.frames if kind == "video" and name == "avi" else 0
        if counted > 1.05 * self.packets + 2:
            raise MediaError(f"video cut short ({self.packets} of {counted} frames)")
        if claimed is None or not name.startswith(_TELL_THEIR_LENGTH):
            return
        seconds, length = claimed / 1_000_000, max(0.0, self._end - self._first)
        if seconds - length > max(0.5, gap):
            raise MediaError(f"{kind} cut short ({length:.1f} of {seconds:.1f} seconds)")

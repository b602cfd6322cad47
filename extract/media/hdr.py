"""HDR video to the range of pictures: swscale's tone mapping, once, as a table of colours."""

from functools import cache
from threading import Lock

import numpy as np
from PIL.ImageFilter import Color3DLUT

HDR_CURVES = (16, 18)
"""ffmpeg's numbers of the transfer curves SMPTE ST 2084 (PQ) and ARIB STD-B67 (HLG)."""

_LOCK = Lock()
_BT2020 = 9
_STEPS = 33


def from_hdr(curve: int) -> Color3DLUT:
    """The filter that brings BT.2020 colours of an HDR curve to BT.709, for 8-bit RGB pictures.

    swscale needs seconds to prepare for each size of frame, so it is asked once, for the colours of
    a lattice; between them Pillow interpolates.

    Args:
        curve: one of ``HDR_CURVES``.
    """
    with _LOCK:  # threads that come meanwhile wait instead of doing the same
        return _table(curve)


@cache
def _table(curve: int) -> Color3DLUT:
    import av
    from av.video.reformatter import ColorPrimaries, ColorTrc

    steps = np.round(np.linspace(0, 65535, _STEPS)).astype(np.uint16)
    # Red changes fastest, as Color3DLUT has it.
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    lattice = np.stack([red, green, blue], axis=-1).reshape(_STEPS, _STEPS * _STEPS, 3)
    frame = av.VideoFrame.from_ndarray(lattice, format="rgb48le")
    frame.color_trc, frame.color_primaries = curve, _BT2020
    mapped = frame.reformat(
        format="rgb48le",
        dst_color_trc=ColorTrc.BT709,
        dst_color_primaries=ColorPrimaries.BT709,
        threads=1,
    )
    return Color3DLUT(_STEPS, (mapped.to_ndarray() / 65535).astype(np.float32).ravel())

"""Decoding: one raw thing becomes a picture, a text or a waveform, or a named reason why not."""

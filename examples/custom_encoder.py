"""One's own encoder: `cli.py extract --encoder examples.custom_encoder:ColourHistogram?bins=4`."""

import torch
from torchvision.transforms.functional import pil_to_tensor

from extract import Encoder


class ColourHistogram(Encoder):
    """Shares of the picture's pixels in a grid of hue, saturation and brightness."""

    modalities = ("image",)

    def __init__(self, bins: str = "4"):
        self.bins = int(bins)
        self.dim = self.bins**3
        self.space = f"colour-histogram-{self.bins}"

    def preprocess(self, raw):
        hsv = pil_to_tensor(raw.convert("HSV")).flatten(1).long() * self.bins // 256
        cell = (hsv[0] * self.bins + hsv[1]) * self.bins + hsv[2]
        return torch.bincount(cell, minlength=self.dim) / len(cell)

    def encode(self, batch):
        return torch.stack(batch)

    def fingerprint(self):
        return {"colour_space": "HSV", "bins": self.bins}

"""Inner layers of timm's networks, by number or by name, pooled over positions or tokens."""

import inspect
import re
from typing import Any

import torch

from extract.encoders.layers import layer_numbers, refuse_repeated
from extract.encoders.uri import EncoderURI
from extract.errors import nearest
from extract.pooling import pool

POOLINGS = ("mean", "max", "cls")


class _Pooled(torch.nn.Module):
    """(n, d, h, w) maps or (n, t, d) tokens to (n, d).

    A network with a class token gives that token; any other the mean over its positions. The mean
    and the maximum leave class and register tokens out, as timm's own pooling does.
    """

    def __init__(self, body: Any, uri: EncoderURI) -> None:
        super().__init__()
        self.body = body
        self.uri = uri
        self.pooling = uri.choice("pooling", POOLINGS)
        self.has_class_token = getattr(body, "cls_token", None) is not None

    def pooled(self, patches: torch.Tensor, prefix: torch.Tensor | None, name: str) -> torch.Tensor:
        """One layer's vector from its (n, t, d) patches and (n, p, d) class and register tokens."""
        with_class = prefix is not None and prefix.shape[1] > 0 and self.has_class_token
        how = self.pooling or ("cls" if with_class else "mean")
        if how == "cls":
            if not with_class or prefix is None:
                self.uri.refuse(f"pooling=cls: layer '{name}' gives no class token")
            return prefix[:, 0].float()
        mask = torch.ones(patches.shape[:2], dtype=torch.bool, device=patches.device)
        return pool(patches, mask, how)  # type: ignore[arg-type]


class NumberedLayers(_Pooled):
    """timm's own blocks or stages by number, from 0, or from the end: -1 is the last.

    Nothing behind the deepest of them is computed, and timm's last normalisation is not applied.
    """

    def __init__(self, body: Any, uri: EncoderURI, pixels: torch.Tensor) -> None:
        """Take a network and an input to try it with, (1, 3, h, w).

        Raises:
            InputError: the network offers no numbered layers, or not these.
        """
        super().__init__(body, uri)
        if not hasattr(body, "forward_intermediates"):
            uri.refuse("the network has no numbered layers: name them, as layer=blocks.3")
        self.numbers = layer_numbers(uri)
        with torch.inference_mode():
            count = len(body.eval().forward_intermediates(pixels, intermediates_only=True))
        for number in self.numbers:
            if not -count <= number < count:
                uri.refuse(f"option layer={number}: the network has layers 0 to {count - 1}")
        self.wanted = [number % count for number in self.numbers]
        refuse_repeated(uri, self.numbers, self.wanted)
        takes = inspect.signature(body.forward_intermediates).parameters
        tokens = "return_prefix_tokens" in takes
        self.options: dict[str, Any] = {"stop_early": True, "intermediates_only": True}
        self.options["output_fmt"] = "NLC" if tokens else "NCHW"
        if tokens and int(getattr(body, "num_prefix_tokens", 0)) > 0:
            self.options["return_prefix_tokens"] = True

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """(n, 3, h, w) to one (n, d) a layer, in the order asked."""
        outputs = self.body.forward_intermediates(pixels, indices=self.wanted, **self.options)
        by_depth = dict(zip(sorted(self.wanted), outputs, strict=True))
        vectors = []
        for number in self.wanted:
            out = by_depth[number]
            patches, prefix = out if isinstance(out, tuple) else (out, None)
            if patches.ndim == 4:
                patches = patches.flatten(2).transpose(1, 2)
            vectors.append(self.pooled(patches, prefix, str(number)))
        return vectors


class NamedLayers(_Pooled):
    """What modules of the network give, by their names as ``named_modules`` has them.

    The whole network runs, since what lies behind a module is not known.
    """

    def __init__(self, body: torch.nn.Module, uri: EncoderURI) -> None:
        """Find the modules.

        Raises:
            InputError: there is no such module.
        """
        super().__init__(body, uri)
        self.names = uri.names("layer")
        modules = dict(body.named_modules())
        self.prefix_tokens = int(getattr(body, "num_prefix_tokens", 0) or 0)
        self.channels_last: set[str] = set()
        self.found: dict[str, Any] = {}
        for name in self.names:
            if not name or name not in modules:
                near = [known for known in modules if known.count(".") <= name.count(".")]
                uri.refuse(f"the network has no layer '{name}'{nearest(name, near[1:])}")
            # Transformers with windows, and embeddings of patches, compute with channels last.
            where = modules[name] if hasattr(modules[name], "output_fmt") else body
            if getattr(where, "output_fmt", "NCHW") == "NHWC":
                self.channels_last.add(name)
            modules[name].register_forward_hook(self._keep(name))

    def _keep(self, name: str) -> Any:
        def hook(module: torch.nn.Module, inputs: Any, output: Any) -> None:  # noqa: ARG001
            # A copy: the next layer may work in place.
            self.found[name] = output.clone() if isinstance(output, torch.Tensor) else output

        return hook

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """(n, 3, h, w) to one (n, d) a layer, in the order asked.

        Raises:
            InputError: a layer does not run, or gives what cannot be pooled.
        """
        self.found.clear()
        self.body(pixels)
        vectors = [self._vector(name) for name in self.names]
        self.found.clear()
        return vectors

    def _vector(self, name: str) -> torch.Tensor:
        out = self.found.get(name)
        if not isinstance(out, torch.Tensor) or not 2 <= out.ndim <= 4:
            shape = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
            self.uri.refuse(f"layer '{name}' gives {shape}: not to be pooled")
        if out.ndim == 2:
            return out
        if out.ndim == 4:
            maps = out.permute(0, 3, 1, 2) if name in self.channels_last else out
            return self.pooled(maps.flatten(2).transpose(1, 2), None, name)
        # Before class and register tokens are put there, a layer gives patches alone.
        grid = getattr(getattr(self.body, "patch_embed", None), "num_patches", None)
        own = self.prefix_tokens if out.shape[1] != grid else 0
        return self.pooled(out[:, own:], out[:, :own], name)


def inner_layers(body: torch.nn.Module, uri: EncoderURI, pixels: torch.Tensor) -> _Pooled:
    """The layers that ``layer=`` names: all by number, or all by name.

    Args:
        body: a headless timm network.
        uri: has the option ``layer``.
        pixels: an input to try it with, (1, 3, h, w).

    Raises:
        InputError: no such layer, or numbers beside names.
    """
    numbered = [re.fullmatch(r"[+-]?\d{1,9}", name) is not None for name in uri.names("layer")]
    if all(numbered):
        return NumberedLayers(body, uri, pixels)
    if any(numbered):
        uri.refuse("option layer=: give numbers or names, not both")
    return NamedLayers(body, uri)

"""torchvision's classification networks as image encoders: the features before the last layer.

``torchvision:resnet50`` downloads the default weights; ``?weights=IMAGENET1K_V1`` others;
``?weights=FILE`` reads a state dict and downloads nothing; ``?weights=random&seed=0`` is a control.
``?layer=layer3`` takes an inner node instead (``pooling=mean|max``, for tokens also ``cls``), and
``?layer=layer2,layer3`` several in one pass: their vectors stand side by side.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch

from extract.encoders.layers import Layers
from extract.encoders.uri import EncoderURI, loading
from extract.encoders.vision import VisionEncoder
from extract.encoders.weights import (
    load_strictly,
    read_state_dict,
    seeded,
    state_digest,
    weights_file,
)
from extract.errors import nearest
from extract.pooling import pool

# Two networks rescale their input inside when they are built for the published weights.
_BUILD_OPTIONS: dict[str, dict[str, bool]] = {
    "googlenet": {"transform_input": True, "init_weights": False},
    "inception_v3": {"transform_input": True, "init_weights": False},
}


def names() -> list[str]:
    """Every network of torchvision that gives embeddings: its classification models."""
    import torchvision

    listed: list[str] = torchvision.models.list_models(module=torchvision.models)
    return listed


def load(uri: EncoderURI) -> VisionEncoder:
    """Build the network that a ``torchvision:`` URI names.

    Raises:
        InputError: unknown name, option, weights or layer; a file that does not fit; no network.
    """
    from torchvision import models

    uri.expect("weights", "sha256", "transforms", "layer", "pooling", "seed")
    known = names()
    if uri.name not in known:
        hint = nearest(uri.name, known, "encoders list torchvision")
        uri.refuse(f"torchvision has no such network{hint}")
    entries = models.get_model_weights(uri.name)
    file = weights_file(uri)
    asked = uri.options.get("weights", "DEFAULT")
    if file is not None or asked == "random":
        options = _BUILD_OPTIONS.get(uri.name, {}) if file is not None else {}
        model = seeded(uri, lambda: models.get_model(uri.name, weights=None, **options))
        head = cut_head(model, uri)
        if file is not None:
            state = read_state_dict(file, uri)
            state = {k: v for k, v in state.items() if not k.startswith(f"{head}.")}
            load_strictly(model, state, file, uri)
        entry = _transforms_entry(uri, entries, file)
    else:
        if "transforms" in uri.options:
            uri.refuse("option transforms= needs weights=FILE: published weights have their own")
        entry = _entry(uri, entries, "weights", asked)
        with loading(uri):
            model = models.get_model(uri.name, weights=entry)
        cut_head(model, uri)
    digest = state_digest(model)
    layers = Layers(uri.names("layer"))
    layer = ",".join(layers.names) or None
    if layer is not None:
        model = InnerLayers(model, layers.names, uri)
    elif "pooling" in uri.options:
        uri.refuse("option pooling= needs layer=: the network pools its last features itself")
    transform = entry.transforms()
    fingerprint = {
        "library": "torchvision",
        "name": uri.name,
        "weights": digest,
        "layer": layer,
        "pooling": uri.options.get("pooling"),
        "preprocessing": " ".join(repr(transform).split()),
    }
    place = f"/{layer}/{uri.options.get('pooling', 'default')}" if layer else ""
    space = f"torchvision:{uri.name}{place}#{digest[:12]}"
    return VisionEncoder(model, transform, space=space, fingerprint=fingerprint, layers=layers)


def _entry(uri: EncoderURI, entries: Any, option: str, asked: str) -> Any:
    valid = [entry.name for entry in entries]
    if asked == "DEFAULT":
        return entries.DEFAULT
    if asked not in valid:
        others = ["DEFAULT", *valid] + (
            ["random", "FILE.safetensors"] if option == "weights" else []
        )
        uri.refuse(f"option {option}={asked} is unknown{nearest(asked, others)}")
    return entries[asked]


def _transforms_entry(uri: EncoderURI, entries: Any, file: Path | None) -> Any:
    """The published weights whose transforms fit a file: asked for, of its name, or default."""
    if "transforms" in uri.options:
        return _entry(uri, entries, "transforms", uri.options["transforms"])
    for entry in entries:
        if file is not None and Path(urlsplit(entry.url).path).stem == file.stem:
            return entry
    return entries.DEFAULT


def cut_head(model: torch.nn.Module, uri: EncoderURI) -> str:
    """Replace the layer that gives the classes by the identity; returns its name.

    It is the last linear layer, or the last convolution where there is none (SqueezeNet).
    """
    last = ""
    for kind in (torch.nn.Linear, torch.nn.Conv2d):
        found = [name for name, module in model.named_modules() if isinstance(module, kind)]
        if found:
            last = found[-1]
            break
    if not last:
        uri.refuse("this network has no classification layer to take off")
    parent, _, child = last.rpartition(".")
    setattr(model.get_submodule(parent), child, torch.nn.Identity())
    return last


class InnerLayers(torch.nn.Module):
    """Nodes of the network, pooled over space or tokens: (n, 3, h, w) to one (n, d) a node."""

    def __init__(self, model: torch.nn.Module, names: Sequence[str], uri: EncoderURI) -> None:
        """Cut the network behind the deepest node.

        Raises:
            InputError: there is no such node.
        """
        super().__init__()
        from torchvision.models.feature_extraction import (
            create_feature_extractor,
            get_graph_node_names,
        )

        with loading(uri):
            nodes = get_graph_node_names(model)[1]
        for name in names:
            # A module's name stands for its last node, as create_feature_extractor reads it.
            if not any(node == name or node.startswith(f"{name}.") for node in nodes):
                outermost = list(dict.fromkeys(node.split(".")[0] for node in nodes))
                uri.refuse(f"the network has no layer '{name}'{nearest(name, outermost)}")
        with loading(uri):
            self.body = create_feature_extractor(model.eval(), list(names)).eval()
            if len(names) > 1:
                _copy_outputs(self.body)
        self.uri = uri
        self.names = tuple(names)
        # Swin computes with channels last until it permutes them for its head.
        self.swin = hasattr(model, "permute")
        self.pooling = uri.choice("pooling", ("mean", "max", "cls"))

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Run up to the nodes and pool what they give.

        Raises:
            InputError: an output has no two, three or four axes, or no tokens for ``cls``.
        """
        outputs = self.body(pixels)
        return [self._vector(name, outputs[name]) for name in self.names]

    def _vector(self, name: str, out: torch.Tensor) -> torch.Tensor:
        if not 2 <= out.ndim <= 4:
            self.uri.refuse(f"layer '{name}' gives shape {tuple(out.shape)}: not to be pooled")
        if self.pooling == "cls" and out.ndim != 3:
            self.uri.refuse(f"pooling=cls needs a layer of tokens; '{name}' gives none")
        if out.ndim == 2:
            return out
        how = self.pooling or ("cls" if out.ndim == 3 else "mean")
        channels_last = self.swin and name.split(".")[0] in ("features", "norm")
        tokens = out if out.ndim == 3 else _flat(out, channels_last)
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return pool(tokens, mask, how)  # type: ignore[arg-type]


def _copy_outputs(body: Any) -> None:
    """Let a traced network copy what it gives, since a later layer may work in place on it."""
    [last] = [node for node in body.graph.nodes if node.op == "output"]
    copies = {}
    for name, node in last.args[0].items():
        with body.graph.inserting_after(node):
            copies[name] = body.graph.call_method("clone", (node,))
    last.args = (copies,)
    body.recompile()


def _flat(maps: torch.Tensor, channels_last: bool) -> torch.Tensor:
    """Feature maps to (n, positions, channels)."""
    return maps.flatten(1, 2) if channels_last else maps.flatten(2).transpose(1, 2)

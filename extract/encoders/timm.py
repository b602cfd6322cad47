"""timm's networks as image encoders: pooled features, with timm's own preprocessing.

``timm:vit_small_patch14_dinov2.lvd142m`` downloads; ``?weights=FILE`` reads a state dict and
downloads nothing; ``?weights=random&seed=0`` is the control. ``?layer=3,-1`` takes timm's blocks or
stages by number instead, ``?layer=blocks.3`` a module by name (``pooling=mean|max|cls``).
"""

from contextlib import nullcontext
from types import ModuleType
from typing import Any

import torch

from extract.encoders.hub import hub_access
from extract.encoders.layers import Layers
from extract.encoders.timm_layers import inner_layers
from extract.encoders.uri import EncoderURI, loading
from extract.encoders.vision import VisionEncoder, grey_sample
from extract.encoders.weights import (
    load_strictly,
    read_state_dict,
    seeded,
    state_digest,
    weights_file,
)
from extract.errors import missing_extra, nearest


def import_timm(needed_by: str, extra: str = "timm") -> ModuleType:
    """The library, or an InputError that names the extra to install."""
    try:
        import timm
    except ImportError:
        raise missing_extra(extra, needed_by) from None
    module: ModuleType = timm
    return module


def load(uri: EncoderURI) -> VisionEncoder:
    """Build the network that a ``timm:`` URI names.

    Raises:
        InputError: timm is not installed; unknown name, option or weights; a file that does not
            fit; no network to download from.
    """
    uri.expect("weights", "sha256", "seed", "layer", "pooling")
    if "pooling" in uri.options and "layer" not in uri.options:
        uri.refuse("option pooling= needs layer=: the network pools its last features itself")
    timm = import_timm(f"encoder {uri}")
    hub = uri.name.startswith(("hf-hub:", "local-dir:"))
    if not hub and uri.name.split(".")[0] not in timm.list_models():
        known = timm.list_models(pretrained=True)
        everything = 'python -c "import timm; print(timm.list_models())"'
        uri.refuse(f"timm has no such network{nearest(uri.name, known, everything)}")
    file = weights_file(uri)
    asked = uri.options.get("weights")
    if file is None and asked not in (None, "random"):
        uri.refuse(f"option weights={asked} is unknown (valid: random, FILE.safetensors, FILE.pth)")
    access = hub_access(uri) if asked is None else nullcontext()
    with access, loading(uri):
        model: torch.nn.Module = seeded(
            uri, lambda: timm.create_model(uri.name, pretrained=asked is None, num_classes=0)
        )
    if file is not None:
        heads = classifier_names(model)
        state = read_state_dict(file, uri)
        state = {k: v for k, v in state.items() if not k.startswith(heads)}
        load_strictly(model, state, file, uri)
    return timm_encoder(model, uri)


def classifier_names(model: torch.nn.Module) -> tuple[str, ...]:
    """Prefixes of the classification layers' tensors, from timm's configuration of a model."""
    named: Any = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    return tuple(f"{name}." for name in ((named,) if isinstance(named, str) else named))


def timm_encoder(model: torch.nn.Module, uri: EncoderURI) -> VisionEncoder:
    """An encoder from a headless timm model, with the preprocessing of its configuration.

    Raises:
        InputError: ``layer=`` names what the network does not have.
    """
    timm = import_timm(f"encoder {uri}")
    config = timm.data.resolve_data_config({}, model=model)
    transform = timm.data.create_transform(**config, is_training=False)
    digest = state_digest(model)
    fingerprint: dict[str, Any] = {
        "library": "timm",
        "name": uri.name,
        "weights": digest,
        "preprocessing": " ".join(repr(transform).split()),
    }
    place = ""
    names = uri.names("layer")
    if names:
        pooling = uri.options.get("pooling")
        fingerprint |= {"layer": ",".join(names), "pooling": pooling}
        place = f"/{','.join(names)}/{pooling or 'default'}"
        model = inner_layers(model, uri, transform(grey_sample()).unsqueeze(0))
    return VisionEncoder(
        model,
        transform,
        space=f"{uri.scheme}:{uri.name}{place}#{digest[:12]}",
        fingerprint=fingerprint,
        layers=Layers(names),
    )

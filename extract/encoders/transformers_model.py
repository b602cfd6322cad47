"""A model of the transformers library as its encoders share it: loading, towers, hidden states."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from extract.encoders.base import MODALITIES, Modality
from extract.encoders.layers import Layers, layer_numbers, recorded, refuse_repeated
from extract.encoders.uri import EncoderURI, loading
from extract.encoders.weights import seeded, state_digest
from extract.pooling import pool

# Tensors that a checkpoint may lack because no hidden state depends on them: the classification
# pooler, and what only masked pretraining or generation uses.
_UNUSED = ("pooler", "mask_token", "masked_spec_embed", "logit_scale", "lm_head", "proj_out")


@dataclass(frozen=True)
class HFModel:
    """A loaded model: ``body`` is what runs, ``shared`` whether it gives a space of two towers."""

    uri: EncoderURI
    body: Any
    shared: bool
    digest: str
    random_pooler: bool
    called: Any
    """The module whose call does the work: the body, or behind shared features the tower."""

    @cached_property
    def layers(self) -> Layers:
        """The hidden states that were asked for, by their indices as text."""
        return Layers([str(number) for number in self.numbers])

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """The indices of the hidden states that were asked for."""
        return layer_numbers(self.uri)

    @property
    def space(self) -> str:
        """Name, weights, and what of the options changes the vectors' meaning."""
        parts = [
            f"{k}={self.uri.options[k]}" for k in ("layer", "pooling") if k in self.uri.options
        ]
        return "/".join([f"hf:{self.uri.label}#{self.digest[:12]}", *parts])

    def described(self, pooling: str) -> dict[str, Any]:
        """What every fingerprint holds: library, name, weights, layer or layers, pooling."""
        return {
            "library": "transformers",
            "name": self.uri.label,
            "weights": self.digest,
            "layer": recorded(self.numbers),
            **self.layers.describe(),
            "pooling": "projection" if self.shared else pooling,
        }

    def vectors(
        self,
        inputs: dict[str, torch.Tensor],
        pooling: str,
        mask_of: Callable[[torch.Tensor], torch.Tensor],
    ) -> torch.Tensor:
        """Run the body and pool the layers that were asked for, side by side.

        Args:
            inputs: what the body takes, on its device.
            pooling: ``pooler``, or how tokens become one vector.
            mask_of: from a layer's tokens (n, t, d) to the valid ones (n, t), bool.

        Returns:
            (n, dim) float32.

        Raises:
            InputError: the model has no such layer, or no pooler with trained weights.
        """
        if pooling == "pooler":
            return self._pooler(inputs).float()
        pooled = [
            pool(tokens, mask_of(tokens), pooling)  # type: ignore[arg-type]
            for tokens in self._hidden(inputs)
        ]
        return self.layers.join(pooled)

    def _pooler(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        if self.numbers:
            self.uri.refuse("pooling=pooler reads the last layer: leave layer= out")
        outputs = self.body(**inputs)
        pooled = getattr(outputs, "pooler_output", None)
        if pooled is None or self.random_pooler:
            self.uri.refuse("the model has no trained pooler; choose another pooling")
        return torch.as_tensor(pooled).flatten(1)

    def _hidden(self, inputs: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        """Tokens (n, t, d) of each layer that was asked for."""
        outputs = self.body(**inputs, output_hidden_states=bool(self.numbers))
        if not self.numbers:
            return [_as_tokens(outputs.last_hidden_state)]
        states = outputs.hidden_states
        for number in self.numbers:
            if not -len(states) <= number < len(states):
                self.uri.refuse(
                    f"option layer={number}: the model has hidden states 0 to {len(states) - 1}"
                )
        refuse_repeated(self.uri, self.numbers, [n % len(states) for n in self.numbers])
        return [_as_tokens(states[number]) for number in self.numbers]


def modalities(uri: EncoderURI) -> tuple[Modality, ...]:
    """What the model that an ``hf:`` URI names can encode, from its configuration alone.

    Raises:
        InputError: the configuration cannot be read.
    """
    from transformers import AutoConfig, AutoModel

    with loading(uri):
        config = AutoConfig.from_pretrained(uri.source, **hub_options(uri))
        with torch.device("meta"):
            model = AutoModel.from_config(  # type: ignore[no-untyped-call]
                config, trust_remote_code=_remote_code(uri)
            )
    return _modalities(model)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No bar and no table while weights are read from disk: what matters of them becomes an error.

    Bars of downloads come from another library and stay.
    """
    import transformers

    logging: Any = transformers.utils.logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def hub_options(uri: EncoderURI) -> dict[str, Any]:
    """What every ``from_pretrained`` takes: the revision, whether the author's code may run, and
    that a local folder is reason to ask no hub.
    """
    return {
        "revision": uri.revision or "main",
        "trust_remote_code": _remote_code(uri),
        "local_files_only": uri.folder is not None,
    }


def _remote_code(uri: EncoderURI) -> bool:
    return uri.choice("trust_remote_code", ("true", "false")) == "true"


def _modalities(model: Any) -> tuple[Modality, ...]:
    towers = tuple(m for m in MODALITIES if hasattr(model, f"get_{m}_features"))
    if "text" in towers and len(towers) > 1:
        return towers
    by_input: dict[str, Modality] = {
        "pixel_values": "image",
        "input_ids": "text",
        "input_values": "audio",
        "input_features": "audio",
    }
    found = by_input.get(model.main_input_name)
    return () if found is None else (found,)


def load_model(uri: EncoderURI, modality: Modality) -> HFModel:
    """Load the model that an ``hf:`` URI names, in evaluation mode, for one modality.

    Raises:
        InputError: no such folder or model, a modality that the model does not take, a checkpoint
            that lacks weights.
    """
    from transformers import AutoConfig, AutoModel

    weights = uri.choice("weights", ("random",))
    source, options = uri.source, hub_options(uri)
    missing: list[str] = []
    with loading(uri), quiet_transformers():
        config = AutoConfig.from_pretrained(source, **options)
        if weights == "random":
            build: Any = AutoModel.from_config
            remote = _remote_code(uri)
            model = seeded(uri, lambda: build(config, trust_remote_code=remote))
        else:
            # A random tensor must not pass for a trained one, nor change a digest between runs.
            model, info = AutoModel.from_pretrained(
                source, config=config, use_safetensors=True, output_loading_info=True, **options
            )
            missing = sorted(info["missing_keys"])
    lacking = [name for name in missing if not any(unused in name for unused in _UNUSED)]
    if lacking:
        uri.refuse(f"the checkpoint lacks {len(lacking)} weights, the first '{lacking[0]}'")
    offered = _modalities(model)
    if modality not in offered:
        uri.refuse(
            f"the model encodes {' and '.join(offered) or 'none of our media'}, not {modality}"
        )
    shared = len(offered) > 1 and not {"layer", "pooling"} & set(uri.options)
    tower = {"image": "vision_model"}.get(modality, f"{modality}_model")
    random_pooler = [name for name in missing if "pooler" in name]
    lacking = [name for name in random_pooler if name.startswith(f"{tower}.")]
    if shared and lacking:
        # A tower's shared features are a projection of what its pooler gives.
        uri.refuse(
            f"the checkpoint lacks '{lacking[0]}', which its shared features need; pooling=mean"
            " does without"
        )
    body = model.eval()
    if len(offered) > 1 and not shared:
        body = getattr(model, tower, None)
        if body is None:
            uri.refuse("layer= and pooling= cannot be used: the model has no separate towers")
    elif getattr(config, "is_encoder_decoder", False):
        body = model.get_encoder()
    return HFModel(
        uri=uri,
        body=body,
        shared=shared,
        digest=state_digest(model, ignore=set(missing)),
        random_pooler=bool(random_pooler),
        called=getattr(model, tower, None) if shared else body,
    )


def shared_features(outputs: Any) -> torch.Tensor:
    """What ``get_*_features`` gives, as a tensor: early releases of transformers 5 give it bare."""
    features: torch.Tensor = outputs if torch.is_tensor(outputs) else outputs.pooler_output
    return features


def _as_tokens(hidden: torch.Tensor) -> torch.Tensor:
    """Feature maps (n, d, h, w) to tokens (n, h w, d); tokens stay."""
    return hidden.flatten(2).transpose(1, 2) if hidden.ndim == 4 else hidden


def processor_settings(processor: Any) -> dict[str, Any]:
    """A processor's settings as JSON, in a stable order and without what names this machine."""
    import json

    values = json.loads(processor.to_json_string())
    return {
        key: values[key]
        for key in sorted(values)
        if key not in ("_name_or_path", "processor_class")
    }

"""Models of the transformers library (scheme ``hf``): which encoder serves a modality.

``hf:NAME[@revision]`` is a model of the hub or a local folder. Models with two towers (CLIP,
SigLIP, CLAP, ...) give their projected features, so that both towers share one space; ``layer=`` or
``pooling=`` takes a tower's own hidden states instead. Weights are read from safetensors only.
Options: layer (a hidden state, or several with commas: their vectors stand side by side), pooling,
of texts prefix, max_length, chunk and overlap, of sounds window and hop (seconds), weights=random
and seed (the control), trust_remote_code=true (runs code that the model's author wrote).
"""

from contextlib import nullcontext

from extract.encoders.base import Encoder, Modality
from extract.encoders.hub import hub_access
from extract.encoders.transformers_audio import HFAudioEncoder
from extract.encoders.transformers_image import HFImageEncoder
from extract.encoders.transformers_model import load_model
from extract.encoders.transformers_model import modalities as model_modalities
from extract.encoders.transformers_text import HFTextEncoder
from extract.encoders.uri import EncoderURI
from extract.encoders.weights import refuse_idle_options

__all__ = ["load", "modalities"]


def modalities(uri: EncoderURI) -> tuple[Modality, ...]:
    """What the model that an ``hf:`` URI names can encode, from its configuration alone.

    Raises:
        InputError: the configuration cannot be read.
    """
    with nullcontext() if uri.folder else hub_access(uri):
        return model_modalities(uri)


def load(uri: EncoderURI, modality: Modality) -> Encoder:
    """Load the model that an ``hf:`` URI names, as an encoder of one modality.

    Raises:
        InputError: no such folder or model, a wrong option, a modality that the model does not
            take, a checkpoint that lacks weights.
    """
    texts = ("max_length", "chunk", "overlap", "prefix")
    specific = {"image": (), "text": texts, "audio": ("window", "hop")}
    every = ("layer", "pooling", "weights", "seed", "trust_remote_code")
    uri.expect(*every, *specific[modality], revision=True)
    refuse_idle_options(uri)
    with nullcontext() if uri.folder else hub_access(uri):
        model = load_model(uri, modality)
        if modality == "image":
            return HFImageEncoder(model)
        return HFTextEncoder(model) if modality == "text" else HFAudioEncoder(model)

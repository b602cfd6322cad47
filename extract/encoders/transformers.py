"""Models of the transformers library (scheme ``hf``): which encoder serves a modality.

``hf:NAME[@revision]`` is a model of the hub or a local folder. Models with two towers (CLIP,
SigLIP, CLAP, ...) give their projected features, so that both towers share one space; ``layer=`` or
``pooling=`` takes a tower's own hidden states instead. Weights are read from safetensors only.
Options: layer, pooling, max_length (text), window and hop (audio, seconds), weights=random and seed
(the control), trust_remote_code=true (runs code that the model's author wrote).
"""

from extract.encoders.base import Encoder, Modality
from extract.encoders.transformers_audio import HFAudioEncoder
from extract.encoders.transformers_image import HFImageEncoder
from extract.encoders.transformers_model import load_model, modalities
from extract.encoders.transformers_text import HFTextEncoder
from extract.encoders.uri import EncoderURI

__all__ = ["load", "modalities"]


def load(uri: EncoderURI, modality: Modality) -> Encoder:
    """Load the model that an ``hf:`` URI names, as an encoder of one modality.

    Raises:
        InputError: no such folder or model, a wrong option, a modality that the model does not
            take, a checkpoint that lacks weights.
    """
    specific = {"image": (), "text": ("max_length",), "audio": ("window", "hop")}
    every = ("layer", "pooling", "weights", "seed", "trust_remote_code")
    uri.expect(*every, *specific[modality], revision=True)
    model = load_model(uri, modality)
    if modality == "image":
        return HFImageEncoder(model)
    return HFTextEncoder(model) if modality == "text" else HFAudioEncoder(model)

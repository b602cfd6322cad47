"""The models that there are, by the names that configurations call them."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple

import scipy.sparse as sp
import torch

from extract.errors import InputError, nearest
from mmssl.config import TrainingConfig
from mmssl.contract import TrainableModel
from mmssl.data.dataset import ModalityFeatures
from mmssl.processes import ONE, Processes


class _Place(NamedTuple):
    config: str
    model: str


DEFAULT_MODEL = "mmssl"

# Imported only when one is asked for: ``package.module:Class``.
MODELS = {
    "mmssl": _Place("mmssl.model.config:MMSSLConfig", "mmssl.model.mmssl:MMSSL"),
    "popularity": _Place(
        "mmssl.baselines.popularity:PopularityConfig", "mmssl.baselines.popularity:Popularity"
    ),
    "item_knn": _Place(
        "mmssl.baselines.item_knn:ItemKNNConfig", "mmssl.baselines.item_knn:ItemKNN"
    ),
    "random_walk": _Place(
        "mmssl.baselines.random_walk:RandomWalkConfig", "mmssl.baselines.random_walk:RandomWalk"
    ),
    "bpr_mf": _Place("mmssl.baselines.bpr_mf:BPRMFConfig", "mmssl.baselines.bpr_mf:BPRMF"),
    "lightgcn": _Place(
        "mmssl.baselines.lightgcn:LightGCNConfig", "mmssl.baselines.lightgcn:LightGCN"
    ),
    "sgl": _Place("mmssl.baselines.sgl:SGLConfig", "mmssl.baselines.sgl:SGL"),
    "xsimgcl": _Place("mmssl.baselines.xsimgcl:XSimGCLConfig", "mmssl.baselines.xsimgcl:XSimGCL"),
    "content_knn": _Place(
        "mmssl.baselines.content_knn:ContentKNNConfig", "mmssl.baselines.content_knn:ContentKNN"
    ),
    "vbpr": _Place("mmssl.baselines.vbpr:VBPRConfig", "mmssl.baselines.vbpr:VBPR"),
    "freedom": _Place("mmssl.baselines.freedom:FREEDOMConfig", "mmssl.baselines.freedom:FREEDOM"),
    "bm3": _Place("mmssl.baselines.bm3:BM3Config", "mmssl.baselines.bm3:BM3"),
    "mgcn": _Place("mmssl.baselines.mgcn:MGCNConfig", "mmssl.baselines.mgcn:MGCN"),
    "lattice": _Place("mmssl.baselines.lattice:LATTICEConfig", "mmssl.baselines.lattice:LATTICE"),
}


def config_class(name: object, source: str) -> type[TrainingConfig]:
    """The settings of a model.

    Raises:
        InputError: there is no such model.
    """
    if not isinstance(name, str) or name not in MODELS:
        hint = nearest(str(name), list(MODELS))
        raise InputError(f"{source}: no model {name!r}{hint}")
    found: type[TrainingConfig] = _import(MODELS[name].config)
    return found


def preset_of(settings: Sequence[str]) -> str:
    """The shipped configuration that settings stand over when none is named.

    Args:
        settings: ``key.sub=value``, perhaps one of them ``model=NAME``.
    """
    named = [text.removeprefix("model=") for text in settings if text.startswith("model=")]
    other = named and named[-1] in MODELS and named[-1] != DEFAULT_MODEL
    return f"baselines/{named[-1]}.yaml" if other else "quickstart.yaml"


def build_model(
    config: TrainingConfig,
    observed: sp.csr_array,
    features: Mapping[str, ModalityFeatures],
    generator: torch.Generator,
    *,
    device: torch.device | None = None,
    processes: Processes = ONE,
) -> TrainableModel:
    """A fresh model; arguments as of ``TrainableModel``.

    Raises:
        InputError: what cannot be trained on these data.
    """
    kind: type[TrainableModel] = _import(MODELS[config.model].model)
    return kind(config, observed, features, generator, device=device, processes=processes)


def _import(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)

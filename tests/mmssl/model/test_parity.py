"""The model against the golden files: METHOD section 5, equations 1 to 6 and 8 to 13.

MMSSL_GOLDEN names another folder of files of the same layout.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from mmssl.config import TrainingConfig
from mmssl.data.dataset import ModalityFeatures
from mmssl.data.sampling import Batch
from mmssl.model.features import feature_l2
from mmssl.model.mmssl import MMSSL
from mmssl.objectives.adversarial import (
    critic_losses,
    generated_rows,
    generator_loss,
    gradient_penalty,
    real_rows,
)
from mmssl.objectives.bpr import batch_l2, bpr
from mmssl.objectives.info_nce import info_nce

FOLDER = Path(os.environ.get("MMSSL_GOLDEN", Path(__file__).parents[2] / "golden"))
FILES = sorted(FOLDER.glob("*.npz"))


class Golden:
    """One golden file: its arrays as float64 tensors, its configuration, and our model of it."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as stored:
            self.arrays = {name: stored[name] for name in stored.files}
        self.config = json.loads(str(self.arrays["config"]))
        self.modalities = self.config["modalities"]
        self.model = self.build_model()
        self.views = self.model()

    def tensor(self, name: str) -> torch.Tensor:
        array = self.arrays[name]
        kind = np.float64 if array.dtype.kind == "f" or array.dtype == np.int8 else np.int64
        return torch.as_tensor(array.astype(kind))

    def build_model(self) -> MMSSL:
        c = self.config
        training = TrainingConfig.parse(
            {
                "features": {"dropout": 0.0},
                "backbone": {
                    "embedding_dim": c["embedding_dim"],
                    "heads": c["heads"],
                    "attention": c["attention"],
                    "layers": c["gnn_layers"],
                    "final_softmax": c["final_softmax"],
                    "relation_rate": c["id_residual_rate"],
                    "feature_rate": c["modality_residual_rate"],
                },
                "contrast": {"temperature": c["temperature"], "weight": 1.0},
                "adversarial": {
                    "weight": 1.0,
                    "critic_items": "all",
                    "critic_users": len(self.arrays["users"]),
                    "mask_observed": c["mask_observed"],
                    "critic_hidden": c["critic_hidden"],
                    "critic_dropout": [0.0, 0.0],
                    "gumbel_temperature": c["gumbel_temperature"],
                    "gumbel_scale": c["gumbel_scale"],
                    "prediction_scale": c["prediction_scale"],
                    "gradient_penalty": c["gradient_penalty"],
                },
                "optimiser": {"embedding_l2": c["embedding_l2"], "feature_l2": c["feature_l2"]},
            },
            "golden",
        )
        features = {}
        for m in self.modalities:
            vectors = self.arrays[f"features.{m}"]
            features[m] = ModalityFeatures(vectors, np.ones(len(vectors), dtype=bool), None, "")
        model = MMSSL(
            training,
            sp.csr_array(self.arrays["interactions"]),
            features,
            torch.Generator(),
            dtype=torch.float64,
        )
        names = {
            "user_id": "user_id",
            "item_id": "item_id",
            "attention.w_cat": "w_cat",
            **{f"critic.{n}": f"critic.{n}" for n in ("w1", "b1", "w2", "b2", "w3", "b3")},
        }
        if c["attention"] == "paper":
            names |= {"attention.w_q": "w_q", "attention.w_k": "w_k"}
        for index, m in enumerate(self.modalities):
            for part in ("weight", "bias"):
                names[f"projections.{index}.linear.{part}"] = f"proj.{m}.{part}"
        model.load_state_dict({ours: self.tensor(f"param.{gold}") for ours, gold in names.items()})
        model.relations.load(
            {m: sp.csr_array(self.arrays[f"relation.{m}"]) for m in self.modalities}
        )
        return model

    def batch(self) -> Batch:
        return Batch(self.tensor("users"), self.tensor("positives"), self.tensor("negatives"))

    def observed_block(self) -> torch.Tensor:
        return self.model.observed.block(
            self.tensor("users"), self.tensor("critic_items"), torch.float64
        )

    def rows(self, side) -> torch.Tensor:
        return generated_rows(
            side.user[self.tensor("users")],
            side.item[self.tensor("critic_items")],
            self.observed_block(),
            self.config["mask_observed"],
        )

    def fake(self) -> list[torch.Tensor]:
        return [self.rows(self.views.features[m]) for m in self.modalities]

    def real(self) -> torch.Tensor:
        return real_rows(
            self.observed_block(),
            self.rows(self.views.final),
            self.tensor("uniform"),
            gumbel_temperature=self.config["gumbel_temperature"],
            gumbel_scale=self.config["gumbel_scale"],
            prediction_scale=self.config["prediction_scale"],
        )

    def holds(self, name: str, ours: torch.Tensor) -> None:
        np.testing.assert_allclose(
            ours.detach().numpy(), self.arrays[name], rtol=1e-5, atol=1e-8, err_msg=name
        )


@pytest.fixture(scope="module", params=FILES, ids=lambda path: path.stem)
def golden(request) -> Golden:
    return Golden(request.param)


def test_there_are_golden_files():
    assert FILES, f"no .npz in {FOLDER}"


def test_final_vectors(golden):
    golden.holds("out.user", golden.views.final.user)
    golden.holds("out.item", golden.views.final.item)


def test_features_and_relations(golden):
    for m in golden.modalities:
        golden.holds(f"out.user_feat.{m}", golden.views.features[m].user)
        golden.holds(f"out.item_feat.{m}", golden.views.features[m].item)
        golden.holds(f"out.user_rel.{m}", golden.views.relations[m].user)
        golden.holds(f"out.item_rel.{m}", golden.views.relations[m].item)


def test_generated_and_real_rows(golden):
    for m, rows in zip(golden.modalities, golden.fake(), strict=True):
        golden.holds(f"similarity.{m}", rows)
    golden.holds("real_rows", golden.real())


def test_critic_and_generator(golden):
    model, items = golden.model, golden.tensor("critic_items")
    fake, real, epsilon = golden.fake(), golden.real(), golden.tensor("epsilon")
    parts = critic_losses(
        model.critic, fake, real, items, epsilon, golden.config["gradient_penalty"]
    )
    golden.holds("loss.critic", parts["wasserstein"] + parts["gradient_penalty"])
    golden.holds("loss.generator", generator_loss(model.critic, fake, items))
    mixed = epsilon * real.repeat(len(fake), 1) + (1 - epsilon) * torch.cat(fake)
    golden.holds("loss.gradient_penalty", gradient_penalty(model.critic, mixed, items))


def test_ranking_contrast_and_regularisation(golden):
    batch, views, config = golden.batch(), golden.views, golden.config
    users = views.final.user[batch.users]
    positives, negatives = views.final.item[batch.positives], views.final.item[batch.negatives]
    golden.holds("loss.bpr", bpr(users, positives, negatives))
    golden.holds(
        "loss.embedding_l2", config["embedding_l2"] * batch_l2(users, positives, negatives)
    )
    golden.holds("loss.feature_l2", config["feature_l2"] * feature_l2(views.features))
    for m in golden.modalities:
        ours = info_nce(views.relations[m].user[batch.users], users, config["temperature"])
        golden.holds(f"loss.info_nce.{m}", ours)


def test_the_models_own_losses_are_those_parts(golden):
    """The path that training takes - ``losses(batch)`` - weighs and sums the same parts."""
    parts = golden.model.losses(golden.batch())
    golden.holds("loss.bpr", parts["bpr"])
    golden.holds("loss.embedding_l2", parts["embedding_l2"])
    golden.holds("loss.feature_l2", parts["feature_l2"])
    contrast = sum(golden.arrays[f"loss.info_nce.{m}"] for m in golden.modalities)
    np.testing.assert_allclose(parts["contrast"].item(), contrast, rtol=1e-5, atol=1e-8)
    # The generator part draws its own block; over all items that only permutes the users.
    if len(golden.arrays["critic_items"]) == golden.arrays["interactions"].shape[1]:
        golden.holds("loss.generator", parts["generator"])

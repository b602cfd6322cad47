"""From a trained model to the run's ``model/`` folder, complete in itself."""

from pathlib import Path
from typing import Any

from mmssl.contract import EmbeddingModel, ItemGraphModel, TrainableModel
from mmssl.data.dataset import Dataset
from mmssl.evaluation.evaluate import Evaluation, protocol
from mmssl.recommend.model_files import ItemFeatures
from mmssl.recommend.model_folder import SavedModel
from mmssl.recommend.model_info import ModelInfo
from mmssl.vectors import TwoSided


def export_model(
    model: TrainableModel,
    dataset: Dataset,
    folder: Path,
    *,
    best_epoch: int,
    validation: Evaluation,
    popularity: Evaluation,
) -> None:
    """Write parameters, what scores, its parts, features, graphs, ids, seen items, the card."""
    scoring: dict[str, Any] = {}
    if isinstance(model, ItemGraphModel):
        scoring["item_graph"] = model.item_graph()
    if isinstance(model, EmbeddingModel):
        users, items = model.embeddings()
        scoring |= {"user_vectors": users.cpu(), "item_vectors": items.cpu()}
        parts = model.modality_parts().items()
        scoring["modality_parts"] = {m: TwoSided(p.user.cpu(), p.item.cpu()) for m, p in parts}
    used = {m: dataset.features[m] for m in model.modalities}
    config = model.config
    SavedModel(
        info=ModelInfo(
            name=config.model,
            variant=config.name,
            encoders={m: features.encoder for m, features in used.items()},
            data=str(dataset.path.resolve()),
            data_digest=dataset.digest,
            seed=config.seed,
            best_epoch=best_epoch,
            training=config.model_dump(mode="json"),
            metrics=validation.metrics,
            popularity=popularity.metrics,
            protocol=protocol(dataset, "val"),
        ),
        user_ids=list(dataset.user_ids.ids),
        item_ids=list(dataset.item_ids.ids),
        parameters=model.state_dict(),
        **scoring,
        features={m: ItemFeatures(f.vectors, f.present) for m, f in used.items()},
        graphs=model.relation_graphs(),
        train=dataset.matrix("train"),
        val=dataset.matrix("val"),
    ).save(folder)

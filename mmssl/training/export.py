"""From a trained model to the run's ``model/`` folder, complete in itself."""

from pathlib import Path

from mmssl.data.dataset import Dataset
from mmssl.evaluation.evaluate import Evaluation, protocol
from mmssl.model.mmssl import MMSSL
from mmssl.recommend.model_folder import SavedModel
from mmssl.recommend.model_info import ModelInfo


def export_model(
    model: MMSSL,
    dataset: Dataset,
    folder: Path,
    *,
    best_epoch: int,
    validation: Evaluation,
    popularity: Evaluation,
) -> None:
    """Write parameters, final vectors, relation graphs, ids, seen items and the model card."""
    user_vectors, item_vectors = model.embeddings()
    config = model.config
    SavedModel(
        info=ModelInfo(
            name="mmssl",
            variant=config.name,
            encoders={m: dataset.features[m].encoder for m in model.modalities},
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
        user_vectors=user_vectors.cpu(),
        item_vectors=item_vectors.cpu(),
        # Before the warm-up ends, and without learned graphs, every modality has the observed one.
        graphs={m: model.relations.graphs[m].edges for m in model.modalities},
        train=dataset.matrix("train"),
        val=dataset.matrix("val"),
    ).save(folder)

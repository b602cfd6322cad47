"""Routes that find items by what people send: pictures, sounds, words."""

from typing import Annotated, BinaryIO

import numpy as np
import polars as pl
from fastapi import APIRouter, File, Form, UploadFile
from numpy.typing import NDArray

from extract.errors import InputError
from mmssl.serve import answers
from mmssl.serve.engine import Engine
from mmssl.serve.newcomers import InterestedUsers
from mmssl.serve.problems import problems
from mmssl.serve.service import Service
from mmssl.serve.uploads import Sent, decode_upload, decode_words

FormCount = Annotated[int, Form(ge=1, le=1000, description="How many.")]
Upload = Annotated[UploadFile | None, File(description="A picture, sound or text file.")]


def search_routes(service: Service) -> APIRouter:
    """The routes that encode what was sent."""
    router = APIRouter(prefix="/api", responses=problems(400, 408, 413, 415, 422))
    settings = service.settings

    def embedding(
        engine: Engine, modality: Sent, file: BinaryIO | None, text: str | None
    ) -> NDArray[np.float32]:
        if modality not in engine.model.features:
            known = ", ".join(engine.model.features) or "none"
            raise InputError(f"the model has no embeddings of {modality}; it has: {known}")
        recorded = engine.model.info.encoders.get(modality)
        service.encoders.require(modality, recorded)
        if text is not None:
            return service.encoders.encode(modality, recorded, decode_words(text), "text")
        if file is None:
            raise InputError("neither a file nor a text was sent")
        raw = decode_upload(modality, file, settings.max_seconds)
        return service.encoders.encode(modality, recorded, raw)

    def nearest(
        engine: Engine, modality: Sent, file: BinaryIO | None, text: str | None, k: int
    ) -> pl.DataFrame:
        return engine.similar.of_embedding(modality, embedding(engine, modality, file, text), k)

    @router.post("/search")
    async def search(
        modality: Annotated[Sent, Form(description="In whose space.")],
        file: Upload = None,
        text: Annotated[str | None, Form(description="Words instead of a file.")] = None,
        k: FormCount = 12,
    ) -> answers.SearchResults:
        """The items nearest to a picture, a sound, a text file, or words."""
        engine = service.engine
        if file is not None and text is not None:
            raise InputError("send either a file or a text")
        found = await service.encode(
            nearest, engine, modality, None if file is None else file.file, text, k
        )
        return answers.SearchResults(modality=modality, items=engine.similar_items(found))

    def placed(
        engine: Engine, files: dict[Sent, BinaryIO], text: str | None, k: int
    ) -> tuple[dict[str, pl.DataFrame], InterestedUsers]:
        vectors: dict[str, NDArray[np.float32]] = {
            modality: embedding(engine, modality, file, None) for modality, file in files.items()
        }
        if text is not None:
            vectors["text"] = embedding(engine, "text", None, text)
        if not vectors:
            raise InputError("neither a picture, nor a sound, nor a text was sent")
        found = {
            modality: engine.similar.of_embedding(modality, vector, k)
            for modality, vector in vectors.items()
        }
        return found, engine.newcomers.interested(vectors, k)

    @router.post("/new-item")
    async def new_item(
        image: Upload = None,
        audio: Upload = None,
        text: Annotated[str | None, Form(description="Its text.")] = None,
        k: FormCount = 12,
    ) -> answers.NewItem:
        """Where an item would stand that the model does not know, by its media alone."""
        engine = service.engine
        uploads: dict[Sent, UploadFile | None] = {"image": image, "audio": audio}
        files = {name: each.file for name, each in uploads.items() if each is not None}
        neighbours, interested = await service.encode(placed, engine, files, text, k)
        return answers.NewItem(
            neighbours={
                modality: [
                    answers.Neighbour(similarity=like.similarity, item=like.item)
                    for like in engine.similar_items(found)
                ]
                for modality, found in neighbours.items()
            },
            users=[
                answers.Interested(user=engine.model.user_ids[row], score=score)
                for row, score in zip(
                    interested.rows.tolist(), interested.scores.tolist(), strict=True
                )
            ],
        )

    return router

"""Routes that find items by what people send: pictures, sounds, words."""

from typing import Annotated, BinaryIO

import polars as pl
from fastapi import APIRouter, File, Form, UploadFile

from extract.encoders.base import Raw
from extract.errors import InputError
from mmssl.serve import answers
from mmssl.serve.engine import Engine
from mmssl.serve.problems import problems
from mmssl.serve.service import Service
from mmssl.serve.uploads import Sent, decode_upload, decode_words

FormCount = Annotated[int, Form(ge=1, le=1000, description="How many.")]
Upload = Annotated[UploadFile | None, File(description="A picture, sound or text file.")]


def search_routes(service: Service) -> APIRouter:
    """The routes that encode what was sent."""
    router = APIRouter(prefix="/api", responses=problems(400, 408, 413, 415, 422))
    settings = service.settings

    def decoded(kind: Sent, file: BinaryIO | None, text: str | None) -> tuple[Sent, Raw]:
        if text is not None:
            return "text", decode_words(text)
        if file is None:
            raise InputError("neither a file nor a text was sent")
        return kind, decode_upload(kind, file, settings.max_seconds)

    def nearest(
        engine: Engine, modality: Sent, file: BinaryIO | None, text: str | None, k: int
    ) -> pl.DataFrame:
        if modality not in engine.model.features:
            known = ", ".join(engine.model.features) or "none"
            raise InputError(f"the model has no embeddings of {modality}; it has: {known}")
        recorded = engine.model.info.encoders.get(modality)
        service.encoders.require(modality, recorded)
        kind, raw = decoded(modality, file, text)
        vector = service.encoders.encode(modality, recorded, raw, kind)
        return engine.similar.of_embedding(modality, vector, k)

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

    return router

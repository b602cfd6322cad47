"""Routes of the model and its items."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from mmssl.serve import answers
from mmssl.serve.list_routes import Count
from mmssl.serve.problems import problems
from mmssl.serve.service import Service

ItemId = Annotated[str, Query(description="An item's original id.")]


def item_routes(service: Service) -> APIRouter:
    """The routes of items: which there are, and what one is."""
    router = APIRouter(prefix="/api", responses=problems(422))

    @router.get("/model")
    async def model() -> answers.Model:
        """What answers."""
        engine = service.engine
        info = engine.model.info
        return answers.Model(
            name=info.name,
            variant=info.variant,
            version=engine.digest,
            users=len(engine.model.user_ids),
            items=len(engine.model.item_ids),
            parts=[],
            spaces=[],
            modalities=[],
            metrics=info.metrics,
            popularity=info.popularity,
        )

    @router.get("/items")
    async def items(query: str = "", limit: Count = 20) -> answers.Items:
        """The first items whose id, title or text holds all the words."""
        cards = service.engine.cards
        found = await service.call(cards.search, query, limit)
        listed = [
            answers.Found.model_validate({**cards.card(row), "match": match})
            for row, match in found
        ]
        return answers.Items(items=listed)

    @router.get("/item", response_model=answers.Item, responses=problems(404))
    async def item(id: Annotated[str, Query(description="An item's original id.")]) -> Response:
        """One item."""
        engine = service.engine
        body = engine.cards.json(engine.item_row(id))
        return Response(body, media_type="application/json")

    return router

"""Routes of the model and its items."""

from typing import Annotated, cast, get_args

from fastapi import APIRouter, Query
from starlette.responses import Response

from mmssl.serve import answers
from mmssl.serve.list_routes import Count, UserId, Words
from mmssl.serve.problems import problems
from mmssl.serve.service import Service
from mmssl.serve.uploads import Sent

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
            parts=list(engine.model.part_names),
            spaces=list(engine.similar.spaces),
            modalities=[
                answers.Modality(
                    name=name,
                    encoder=encoder,
                    searchable=name in engine.model.features
                    and name in get_args(Sent)
                    and service.encoders.searchable(cast(Sent, name), encoder),
                )
                for name, encoder in info.encoders.items()
            ],
            metrics=info.metrics,
            popularity=info.popularity,
        )

    @router.get("/items")
    async def items(query: Words = "", limit: Count = 20) -> answers.Items:
        """The first items whose id, title or text holds all the words."""
        cards = service.engine.cards
        found = await service.call(cards.search, query, limit)
        listed = [
            answers.Found.model_validate({**cards.card(row), "match": match})
            for row, match in found
        ]
        return answers.Items(items=listed)

    @router.get("/item", response_model=answers.Item, responses=problems(404))
    async def item(id: ItemId) -> Response:
        """One item."""
        engine = service.engine
        body = engine.card_json(engine.item_row(id))
        return Response(body, media_type="application/json")

    @router.get("/similar", responses=problems(404))
    async def similar(
        item: ItemId,
        space: Annotated[str, Query(description="One of the model's spaces.")],
        k: Count = 12,
    ) -> answers.SimilarItems:
        """The items most like an item: to the model, or in a modality."""
        engine = service.engine
        card = engine.item(item)
        found = await service.call(engine.similar.of_item, item, k, space)
        return answers.SimilarItems(item=card, space=space, items=engine.similar_items(found))

    @router.get("/explain", responses=problems(404))
    async def explain(user: UserId, item: ItemId) -> answers.Explanation:
        """What the score of an item for a user is made of, and the user's items most like it."""
        engine = service.engine
        engine.user_row(user)
        card = engine.item(item)
        told = await service.call(engine.explainer.explain, user, item)
        return answers.Explanation(
            user=user,
            item=card,
            score=told.score,
            shares=told.shares,
            nearest={
                modality: [
                    answers.Neighbour(similarity=cosine, item=engine.item(near))
                    for near, cosine in found
                ]
                for modality, found in told.nearest.items()
            },
        )

    return router

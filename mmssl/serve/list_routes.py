"""Routes of users and their lists."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from mmssl.serve import answers, writing
from mmssl.serve.problems import problems
from mmssl.serve.service import Service

Count = Annotated[int, Query(ge=1, le=1000, description="How many.")]
UserId = Annotated[str, Query(description="A user's original id.")]
# Each word is one more condition: thousands of them would keep a thread for minutes.
Words = Annotated[str, Query(max_length=200, description="Words, in any order.")]


def list_routes(service: Service) -> APIRouter:
    """The routes of users: who there is, what they know, what suits them."""
    router = APIRouter(prefix="/api", responses=problems(422))

    @router.get("/users")
    async def users(query: Words = "", limit: Count = 20) -> answers.Users:
        """The first users whose id holds the words; those whose id begins with them come first."""
        engine = service.engine
        rows = await service.call(engine.user_names.find, query, limit)
        return answers.Users(users=[engine.model.user_ids[row] for row in rows])

    @router.get("/history", response_model=answers.History, responses=problems(404))
    async def history(user: UserId) -> Response:
        """What a user has interacted with, training and validation together."""
        engine = service.engine
        rows = engine.history(user)
        # However many items they are, nobody else waits for them.
        return await service.call(writing.item_list, {"user": user}, rows.tolist(), engine)

    @router.get("/recommend", response_model=answers.Recommendations, responses=problems(404))
    async def recommend(
        user: UserId,
        k: Count = 20,
        parts: Annotated[list[str], Query(description="Parts of the score. None: all.")] = [],  # noqa: B006
    ) -> Response:
        """The items that suit a user best, without those that the user has seen."""
        engine = service.engine
        if engine.is_quick:
            ranked = engine.recommend(user, k, parts)
        else:
            ranked = await service.call(engine.recommend, user, k, parts)
        return writing.recommendations(ranked, engine, user)

    @router.post(
        "/recommend",
        response_model=answers.RecommendationsForHistory,
        responses=problems(400, 404, 408, 413),
    )
    async def recommend_for(asked: answers.NewUser) -> Response:
        """The items that suit somebody who is new, by a few items; without a training."""
        engine = service.engine
        ranked = await service.call(engine.recommend_for, asked.history, asked.k)
        return writing.recommendations(ranked, engine)

    return router

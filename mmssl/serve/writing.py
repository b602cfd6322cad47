"""Answers as bytes: lists are joined from items' JSON that is made once, the hot path's saving."""

import json
from collections.abc import Iterable

from starlette.responses import Response

from mmssl.serve.engine import Engine, RankedItems


def recommendations(ranked: RankedItems, engine: Engine, user: str) -> Response:
    """``Recommendations`` of a user."""
    items = b",".join(
        b'{"rank":%d,"score":%s,"item":%s}' % (rank, _number(score), engine.card_json(row))
        for rank, (row, score) in enumerate(
            zip(ranked.rows.tolist(), ranked.scores.tolist(), strict=True), start=1
        )
    )
    head = json.dumps(user).encode(), ranked.source.encode()
    return _response(b'{"user":%s,"source":"%s","items":[%s]}' % (*head, items))


def item_list(head: dict[str, object], rows: Iterable[int], engine: Engine) -> Response:
    """An object whose last field, ``items``, is a list of items."""
    fields = json.dumps(head)[1:-1].encode()
    items = b",".join(engine.card_json(row) for row in rows)
    return _response(b'{%s%s"items":[%s]}' % (fields, b"," if fields else b"", items))


def _number(value: float) -> bytes:
    return repr(value).encode()


def _response(body: bytes) -> Response:
    return Response(body, media_type="application/json")

"""Routes of the items' pictures and sounds."""

import re
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import Response, StreamingResponse

from mmssl.serve.item_routes import ItemId
from mmssl.serve.media import Sound
from mmssl.serve.problems import problem, problems
from mmssl.serve.service import Service

# Asked for again once the table may have been read anew; the etag saves sending it again.
_CACHE = "private, max-age=300"
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def media_routes(service: Service) -> APIRouter:
    """The routes of what is seen and heard of an item."""
    router = APIRouter(prefix="/media", responses=problems(404, 415, 422))
    unchanged: dict[int | str, dict[str, Any]] = {
        304: {"description": "What the client has is still so."}
    }
    picture = {**unchanged, 200: {"content": {"image/jpeg": {}}, "description": "A JPEG."}}
    sound = {
        **unchanged,
        200: {"content": {"audio/*": {}}, "description": "The sound."},
        206: {"content": {"audio/*": {}}, "description": "The part that Range names."},
    }

    @router.get("/thumbnail", response_class=Response, responses=picture)
    async def thumbnail(item: ItemId, request: Request) -> Response:
        """An item's picture as a JPEG of at most 256 pixels a side."""
        engine = service.engine
        made = await service.call(engine.thumbnail, engine.item_row(item))
        headers = {"etag": made.etag, "cache-control": _CACHE}
        if _is_known(request, made.etag):
            return Response(status_code=304, headers=headers)
        return Response(made.jpeg, headers=headers, media_type="image/jpeg")

    @router.get("/audio", response_class=Response, responses={**sound, **problems(416)})
    async def audio(item: ItemId, request: Request) -> Response:
        """An item's sound as it is; parts of it by the header Range."""
        engine = service.engine
        opened = await service.call(Sound, engine.cards, engine.item_row(item))
        headers = {"etag": opened.etag, "cache-control": _CACHE, "accept-ranges": "bytes"}
        if _is_known(request, opened.etag):
            opened.close()
            return Response(status_code=304, headers=headers)
        start, stop, status = 0, opened.size, 200
        asked = request.headers.get("range")
        if asked and request.headers.get("if-range", opened.etag) == opened.etag:
            found = _RANGE.fullmatch(asked.strip())
            # Several parts, or other units: the whole is a right answer to them.
            if found and any(found.groups()):
                start, stop = _part(found[1], found[2], opened.size)
                if start >= stop:
                    opened.close()
                    headers["content-range"] = f"bytes */{opened.size}"
                    return problem(416, "the sound has no such part", headers)
                status = 206
                headers["content-range"] = f"bytes {start}-{stop - 1}/{opened.size}"
        headers["content-length"] = str(stop - start)

        async def pieces() -> AsyncIterator[bytes]:
            try:
                async for piece in iterate_in_threadpool(opened.chunks(start, stop)):
                    yield piece
            finally:
                opened.close()  # also where the client went away before the first piece

        return StreamingResponse(pieces(), status, headers, media_type=opened.type)

    return router


def _is_known(request: Request, etag: str) -> bool:
    known = request.headers.get("if-none-match", "")
    return etag in (name.strip().removeprefix("W/") for name in known.split(","))


def _part(first: str, last: str, size: int) -> tuple[int, int]:
    """Where a part begins, and ends (excluded); empty where the file has no such part."""
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size

"""Errors as the API answers them: ``{"detail": "one line"}``, never a traceback."""

import json
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from extract.errors import InputError
from extract.media.files import MediaError, UnavailableError
from mmssl.serve.answers import Problem
from mmssl.serve.engine import UnknownIdError
from mmssl.serve.guards import SECURITY_HEADERS

_MEANINGS = {
    400: "A request that cannot be read.",
    404: "Unknown user or item, or an item without such a medium.",
    408: "The request took too long to arrive.",
    413: "The body is too large.",
    415: "Not a picture, sound or text that can be read.",
    416: "No such part of the file.",
    422: "A parameter that is missing or wrong.",
    503: "Too busy.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route's OpenAPI entry says of the errors that it may answer."""
    return {
        status: {"model": Problem, "description": _MEANINGS[status]} for status in (*statuses, 503)
    }


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """An error as the API answers it."""
    # ASCII alone: half a character, as JSON can bring one, has no other encoding.
    body = json.dumps({"detail": " ".join(detail.split())})
    return Response(body, status, headers, media_type="application/json")


def install(app: FastAPI) -> None:
    """Let an application answer all errors so."""

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "the request"
        return problem(422, f"{where}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        return problem(error.status_code, error.detail, dict(error.headers or {}))

    @app.exception_handler(UnknownIdError)
    async def unknown(_: Request, error: UnknownIdError) -> Response:
        return problem(404, str(error))

    @app.exception_handler(InputError)
    async def unusable(_: Request, error: InputError) -> Response:
        return problem(422, str(error))

    @app.exception_handler(MediaError)
    async def media(_: Request, error: MediaError) -> Response:
        return problem(404 if isinstance(error, UnavailableError) else 415, str(error))

    @app.exception_handler(Exception)
    async def fault(_: Request, __: Exception) -> Response:
        # The server's log has it in full; it is nobody else's to read.
        said = "a fault of the server; its log says more"
        # This answer is given outside all middleware.
        return problem(500, said, SECURITY_HEADERS)

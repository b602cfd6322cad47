"""The web application: routes, guards and errors around one service."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from mmssl.serve import answers, problems
from mmssl.serve.guards import KnownHosts, Limits, SecurityHeaders
from mmssl.serve.item_routes import item_routes
from mmssl.serve.list_routes import list_routes
from mmssl.serve.measures import Measured
from mmssl.serve.media_routes import media_routes
from mmssl.serve.search_routes import search_routes
from mmssl.serve.service import Service

PAGE = Path(__file__).parent / "page"
"""The folder of the web page: ``index.html`` and ``static/``."""

_LOCAL = ("localhost", "127.0.0.1", "[::1]")


def create_app(service: Service) -> FastAPI:
    """The application that answers for a service."""
    settings = service.settings

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watching = (
            asyncio.create_task(service.watch(settings.reload_seconds))
            if settings.reload_seconds is not None
            else None
        )
        yield
        if watching is not None:
            watching.cancel()
        service.close()

    app = FastAPI(
        title="mmssl",
        summary="Recommendations of a trained multi-modal model.",
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        middleware=[
            Middleware(Measured, measures=service.measures),
            Middleware(SecurityHeaders),
            Middleware(KnownHosts, hosts=known_hosts(settings.host, settings.allowed_hosts)),
            Middleware(
                Limits,
                body_bytes=settings.upload_bytes,
                body_seconds=settings.body_seconds,
                answer_seconds=settings.answer_seconds,
            ),
        ],
    )
    problems.install(app)
    for routes in (list_routes, item_routes, media_routes, search_routes):
        app.include_router(routes(service))
    app.include_router(_state_routes(service))
    if (PAGE / "static").is_dir():
        app.mount("/static", StaticFiles(directory=PAGE / "static"))
    if (PAGE / "index.html").is_file():

        @app.get("/", include_in_schema=False)
        async def page() -> FileResponse:
            return FileResponse(PAGE / "index.html", headers={"cache-control": "no-cache"})

    return app


def known_hosts(host: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
    """The names that a Host header may bear; none, that is any, where others are let in.

    Args:
        host: that the server binds to.
        allowed: names that a person gave; then only these and this machine's own.
    """
    local = (*_LOCAL, host, f"[{host}]")
    return (*local, *allowed) if allowed or host in ("localhost", "::1") or _loops(host) else ()


def _loops(host: str) -> bool:
    return host.startswith("127.")


def _state_routes(service: Service) -> APIRouter:
    router = APIRouter()

    @router.get("/health/live")
    async def live() -> answers.Alive:
        """Answers as long as the server runs."""
        return answers.Alive(status="ok")

    @router.get("/health/ready", responses=problems.problems())
    async def ready() -> answers.Ready:
        """Answers once a list could be made: the model is there, and a thread is free."""
        engine = service.engine
        if engine.model.user_ids:
            await service.call(engine.recommend, engine.model.user_ids[0], 1)
        return answers.Ready(status="ok", version=engine.digest)

    @router.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        text = "text/plain; version=0.0.4"
        return Response(service.measures.text(), headers={"content-type": text})

    return router

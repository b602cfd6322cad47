"""The server's process: a socket, signals, and the application until it is told to end."""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Callable

import uvicorn

from extract.errors import InputError
from mmssl.serve.app import create_app
from mmssl.serve.engine import Engine
from mmssl.serve.protocol import protocol_of
from mmssl.serve.service import Service
from mmssl.serve.settings import ServeSettings

_CONNECTIONS = 512
"""Connections beyond which a request is answered 503 at once."""
_GRACE_SECONDS = 30


def serve(settings: ServeSettings, report: Callable[[str], None]) -> None:
    """Answer until SIGINT or SIGTERM; what has begun by then is finished.

    SIGHUP reads the model and the item table anew.

    Args:
        settings: what to serve, and where.
        report: given a line for people now and then.

    Raises:
        InputError: the model, the item table or the address cannot be used.
    """
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s: %(message)s")
    with _bound(settings.host, settings.port) as listening:
        engine = Engine.load(settings)
        info, users, items = engine.model.info, engine.model.user_ids, engine.model.item_ids
        report(
            f"model {settings.model} ({info.name}, {info.variant}): users {len(users):,},"
            f" items {len(items):,}"
        )
        try:
            with asyncio.Runner(loop_factory=_event_loop) as runner:
                runner.run(_answer(Service(settings, engine), listening, report))
        except KeyboardInterrupt:
            # The usual end of a server in a terminal; uvicorn sends the signal on once it is done.
            report("stopped")


def _event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def uvicorn_config(service: Service) -> uvicorn.Config:
    """How uvicorn is to run a service's application."""
    return uvicorn.Config(
        create_app(service),
        http=protocol_of(service.settings.header_seconds),
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


async def _answer(
    service: Service, listening: socket.socket, report: Callable[[str], None]
) -> None:
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Task[bool]] = set()

    def reload() -> None:
        task = loop.create_task(service.reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    with contextlib.suppress(NotImplementedError, AttributeError):  # Windows has no SIGHUP
        loop.add_signal_handler(signal.SIGHUP, reload)
    server = _Server(uvicorn_config(service), lambda: report(f"answers at {_url(listening)}"))
    await server.serve(sockets=[listening])


class _Server(uvicorn.Server):
    """uvicorn's, which says when it answers."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell()


def _bound(host: str, port: int) -> socket.socket:
    """A socket at the address: what is wrong with it is said before anything is loaded.

    Raises:
        InputError: no such address, not permitted, or taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except BaseException:
            bound.close()
            raise
    except OSError as error:
        raise InputError(
            f"--host {host} --port {port}: cannot listen there ({error.strerror}); name another"
        ) from None
    return bound


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

"""What stands before every request: whom it may come from, how large and how slow it may be.

Each class is ASGI middleware. What a request did wrong is answered as the API answers all errors.
"""

import asyncio
import json
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; object-src 'none';"
        " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
_PLAIN_BYTES = 2**20
"""Largest body that is no form: all of it is read at once, by the thread that answers everybody."""
_HAVE_BODIES = ("POST", "PUT", "PATCH", "DELETE")


async def refuse(send: Send, status: int, detail: str) -> None:
    """Answer with ``{"detail": ...}`` and close the connection."""
    body = json.dumps({"detail": detail}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class SecurityHeaders:
    """Tell the browser to run, show and load nothing but what is this server's own."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does, with the headers."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_with_headers)


class KnownHosts:
    """Refuse a request for another host, and posts that another site's page makes.

    A name that somebody's DNS lets point to this machine would otherwise let their pages read what
    the server answers (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        """Take the names that a Host header may bear; none: any."""
        self.app = app
        self.hosts = {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or let the application answer."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            if self.hosts and _name_of(headers.get("host", "")) not in self.hosts:
                await refuse(send, 400, "the Host header names another host")
                return
            if scope["method"] == "POST" and headers.get("sec-fetch-site") == "cross-site":
                await refuse(send, 403, "sent by the page of another site")
                return
        await self.app(scope, receive, send)


def _name_of(host: str) -> str:
    """The name in a Host header, without its port: ``[::1]:80`` is ``[::1]``."""
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdigit() else host.lower()


class Limits:
    """Bound a body's size, the time that it takes to come, and the time until it is answered.

    Bytes are counted as they come, whatever Content-Length says.
    """

    def __init__(
        self, app: ASGIApp, *, body_bytes: int, body_seconds: float, answer_seconds: float
    ) -> None:
        self.app = app
        self.body_bytes = body_bytes
        self.body_seconds = body_seconds
        self.answer_seconds = answer_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer, within the limits."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        waits = self.body_seconds if scope["method"] in _HAVE_BODIES else 0.0
        body_until = loop.time() + self.body_seconds
        received, whole, started = 0, False, False
        form = Headers(scope=scope).get("content-type", "").startswith("multipart/")
        most = self.body_bytes if form else min(self.body_bytes, _PLAIN_BYTES)

        async def receive_in_time() -> Message:
            nonlocal received, whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout_at(body_until):
                    message = await receive()
            except TimeoutError:
                said = f"the request took longer than {self.body_seconds:g} seconds to arrive"
                raise _closing(408, said) from None
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > most:
                    said = f"more than {most} bytes; smaller files can be sent"
                    raise _closing(413, said)
                if not message.get("more_body", False):
                    whole = True
                    if not started:
                        limit.reschedule(loop.time() + self.answer_seconds)
            return message

        async def send_in_time(message: Message) -> None:
            nonlocal started
            if not started:
                started = True
                # From now on what counts is that the client takes what is sent: the protocol's.
                limit.reschedule(None)
            await send(message)

        try:
            async with asyncio.timeout(waits + self.answer_seconds) as limit:
                await self.app(scope, receive_in_time, send_in_time)
        except TimeoutError:
            if not limit.expired():
                raise
            said = f"no answer within {self.answer_seconds:g} seconds; try again later"
            await refuse(send, 503, said)


def _closing(status: int, detail: str) -> HTTPException:
    return HTTPException(status, detail, headers={"connection": "close"})

"""HTTP connections that may not stay open while nothing comes, or nothing is taken."""

from asyncio import TimerHandle, Transport
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEADER_BYTES = 64 * 2**10

STALLED_SECONDS = 60.0
"""How long a client may leave untaken what waits for it."""


def protocol_of(header_seconds: float) -> type[HttpToolsProtocol]:
    """A protocol that closes a connection whose headers take longer, or are too large.

    uvicorn itself waits for headers for ever, and keeps whatever comes: a client that sends a line
    an hour would hold a connection, and one that sends lines without end all memory.
    """

    class Guarded(HttpToolsProtocol):
        _waiting: TimerHandle | None = None
        _stalled: TimerHandle | None = None
        _header_bytes = 0

        def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            self._goes_on()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stalled = self.loop.call_later(STALLED_SECONDS, self.transport.abort)

        def resume_writing(self) -> None:
            self._goes_on()
            super().resume_writing()

        def data_received(self, data: bytes) -> None:
            if self._waiting is not None:
                self._header_bytes += len(data)
                # One piece may hold the beginning of a body; so large a piece of headers does not
                # come either.
                if self._header_bytes > MAX_HEADER_BYTES + len(data):
                    self._give_up()
                    return
            super().data_received(data)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._wait()

        def on_headers_complete(self) -> None:
            self._stop_waiting()
            super().on_headers_complete()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            # Answered before its body was whole: what still comes, maybe for ever, nobody reads.
            if self.cycle.response_complete and self.cycle.more_body:
                self.transport.close()

        def _goes_on(self) -> None:
            if self._stalled is not None:
                self._stalled.cancel()
                self._stalled = None

        def _wait(self) -> None:
            if self._waiting is None:
                self._header_bytes = 0
                self._waiting = self.loop.call_later(header_seconds, self._give_up)

        def _stop_waiting(self) -> None:
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None

        def _give_up(self, *_: Any) -> None:
            self._waiting = None
            self.transport.abort()

    return Guarded

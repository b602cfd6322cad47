"""What the routes share: the model that answers now, and the threads that do the long work."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from starlette.exceptions import HTTPException

from extract.errors import InputError
from extract.files import sha256_file
from mmssl.serve.encoders import Encoders
from mmssl.serve.engine import Engine
from mmssl.serve.measures import Measures
from mmssl.serve.settings import ServeSettings

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 4
_WAITING = 64
"""Calls that wait for a thread or run in one; more are refused, since they would only time out."""
_ENCODINGS = 16
"""The same of uploads, which are encoded one after another."""

_log = logging.getLogger(__name__)


def _files(folder: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of change of each file."""
    found = ((path.name, path.stat()) for path in sorted(folder.iterdir()))
    return [(name, status.st_size, status.st_mtime_ns) for name, status in found]


class _Queue:
    """Threads, and how much may wait for one or run in one."""

    def __init__(self, what: str, threads: int, most: int) -> None:
        self.threads = ThreadPoolExecutor(threads, what)
        self._what, self._most, self._taken = what, most, 0

    async def run(self, work: Callable[[], T]) -> T:
        if self._taken >= self._most:
            raise HTTPException(503, f"too many {self._what} at once; try again later")
        self._taken += 1
        try:
            return await asyncio.wrap_future(self.threads.submit(work))
        finally:
            self._taken -= 1


class Service:
    """One server's state; ``engine`` is taken once at a request's beginning and kept to its end."""

    def __init__(self, settings: ServeSettings, engine: Engine) -> None:
        self.settings = settings
        self.measures = Measures()
        self.encoders = Encoders(dict(settings.encoders), settings.device)
        self._answers = _Queue("requests", _THREADS, _WAITING)
        self._uploads = _Queue("uploads", 1, _ENCODINGS)
        self._loader = ThreadPoolExecutor(1, "load")
        self._loading = asyncio.Lock()
        self._said = ""
        self._take(engine)

    def _take(self, engine: Engine) -> None:
        self.engine = engine
        info = engine.model.info
        self.measures.show_model(info.name, info.variant, engine.digest)

    async def call(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do work in a thread, so that other requests are answered meanwhile.

        Raises:
            HTTPException: 503, too much is waiting already.
        """
        return await self._answers.run(partial(work, *args, **kwargs))

    async def encode(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do work that decodes and encodes what was sent; one such at a time, since it is heavy.

        Raises:
            HTTPException: 503, too much is waiting already.
        """
        return await self._uploads.run(partial(work, *args, **kwargs))

    async def reload(self) -> bool:
        """Load the model and the item table anew, beside those that answer, then change over.

        Requests that have begun end with the old ones. What cannot be loaded is logged, and the
        old ones go on.

        Returns:
            Whether the new ones answer now.
        """
        async with self._loading:
            loop = asyncio.get_running_loop()
            try:
                engine = await loop.run_in_executor(self._loader, Engine.load, self.settings)
            # Whatever the new files make a library raise, the old model goes on.
            except Exception as error:
                self.measures.swaps.labels("refused").inc()
                said = " ".join(str(error).split()) or type(error).__name__
                if said != self._said:
                    expected = isinstance(error, InputError)
                    _log.error("new model refused: %s", said, exc_info=not expected)
                self._said = said
                return False
            self._said = ""
            self._take(engine)
            self.measures.swaps.labels("taken").inc()
            _log.warning("model %s, version %s answers now", engine.model.info.name, engine.digest)
            return True

    async def watch(self, seconds: float) -> None:
        """Load anew whenever the model folder's ``config.json`` is another; never ends."""
        loop = asyncio.get_running_loop()
        path = self.settings.config_file
        refused: list[tuple[str, int, int]] = []
        while True:
            await asyncio.sleep(seconds)
            try:
                digest = await loop.run_in_executor(self._loader, sha256_file, path)
                files = _files(path.parent)
            except OSError:  # While one folder takes another's place there is none.
                continue
            # What was refused is not read again before something in the folder changes.
            if digest != self.engine.digest and files != refused:
                refused = [] if await self.reload() else files

    def close(self) -> None:
        """Wait for no thread: what has not begun never will."""
        for pool in (self._answers.threads, self._uploads.threads, self._loader):
            pool.shutdown(wait=False, cancel_futures=True)

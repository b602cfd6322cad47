"""What a server is: the options of the command ``serve``."""

from dataclasses import dataclass
from pathlib import Path

from extract.inspect.items import ItemSource


@dataclass(frozen=True)
class ServeSettings:
    """Options of the command ``serve``; they bear the same names."""

    model: Path
    """The run, or its model folder."""
    source: ItemSource
    """The item table and how it is read."""
    host: str = "127.0.0.1"
    port: int = 8000
    """0: any free one."""
    device: str = "auto"
    allowed_hosts: tuple[str, ...] = ()
    """Names that a request's Host header may bear, besides this machine's own."""
    upload_bytes: int = 20 * 2**20
    """Largest body of a request."""
    body_seconds: float = 30.0
    """How long a client may take to send a body."""
    answer_seconds: float = 60.0
    """How long an answer may take, once the request is whole."""
    header_seconds: float = 10.0
    """How long a client may take to send a request's headers, and a connection may be idle."""
    max_seconds: float = 600.0
    """Longest sound that is decoded."""
    reload_seconds: float | None = None
    """How often the model folder is looked at; None: never."""
    encoders: tuple[tuple[str, str], ...] = ()
    """Modality and URI of encoders that a person named instead of the model's."""
    index: Path | None = None
    """The folder of an index of the item vectors; None: all items are ranked."""

    @property
    def config_file(self) -> Path:
        """The model folder's ``config.json``; it holds the digests of all other files."""
        inner = self.model / "model"
        return (inner if inner.is_dir() else self.model) / "config.json"

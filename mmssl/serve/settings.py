"""What a server is: what the command ``serve`` was told, and limits that it does not ask for."""

from dataclasses import dataclass
from pathlib import Path

from extract.inspect.items import ItemSource
from mmssl.recommend.model_files import folder_of


@dataclass(frozen=True)
class ServeSettings:
    """What is served, where, and within what limits."""

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
    """How long a client may take to send a request's headers, on a fresh connection also to begin
    with them."""
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
        return folder_of(self.model) / "config.json"

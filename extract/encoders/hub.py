"""The model hub where there is no network: an answer at once, and one that says what works."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from urllib.request import getproxies

from extract.encoders.uri import EncoderURI
from extract.errors import InputError


@contextmanager
def hub_access(uri: EncoderURI) -> Iterator[None]:
    """Load from the hub or its cache; from the cache alone where the hub has no address.

    The hub's library waits half a minute for every file whose host cannot be looked up; its offline
    mode reads the cache at once.

    Raises:
        InputError: what the body raised; where the network is why, it says what works without.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _resolvable(constants.ENDPOINT)
    try:
        yield
    except InputError as error:
        # The hub's errors for a file that is neither there nor cached are OSErrors.
        if not constants.HF_HUB_OFFLINE or not isinstance(error.__cause__, OSError):
            raise
        weights = "?weights=FILE, " if uri.scheme == "timm" else ""
        raise InputError(
            f"encoder {uri}: cannot be loaded: it is not (or not whole) in the local cache, and the"
            f" model hub cannot be reached; without a network use a local folder, {weights}or"
            " packaged:NAME (see: encoders list packaged)"
        ) from error
    finally:
        constants.HF_HUB_OFFLINE = before


def _resolvable(endpoint: str) -> bool:
    if {"https", "all"} & set(getproxies()):
        return True  # the proxy looks the name up
    try:
        socket.getaddrinfo(urlsplit(endpoint).hostname, None)
    except OSError:
        return False
    return True

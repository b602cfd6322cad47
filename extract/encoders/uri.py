"""Encoder URIs: ``scheme:name[@revision][?key=value&...]``, parsed and checked."""

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote

from extract.encoders.suggestion import meant
from extract.errors import InputError, nearest

_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True)
class EncoderURI:
    """A parsed URI; ``options`` holds what stands behind ``?``, as text."""

    scheme: str
    name: str
    revision: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        revision = f"@{quote(self.revision, safe='/')}" if self.revision else ""
        pairs = (f"{quote(k)}={quote(v, safe='/:,')}" for k, v in self.options.items())
        query = "&".join(pairs)
        name = quote(self.name, safe="/:\\")
        return f"{self.scheme}:{name}{revision}{'?' + query if query else ''}"

    @property
    def label(self) -> str:
        """The name; of a local folder its last part, so that nothing depends on where it lies."""
        folder = _existing_folder(self.name)
        return folder.name if folder else self.name

    @property
    def folder(self) -> Path | None:
        """The local folder that the name of a hub's scheme means; None where it is a hub's model.

        Raises:
            InputError: the name can only be a folder's and there is none, or a revision is asked of
                a folder.
        """
        folder = _existing_folder(self.name)
        if folder is None and self.name.startswith((".", "/", "~")):
            self.refuse("no such folder")
        if folder is not None and self.revision is not None:
            self.refuse(f"a local folder has no revisions; leave '@{self.revision}' out")
        return folder

    @property
    def source(self) -> str:
        """What a library is to load: the folder's absolute path, or the hub's name.

        A relative path must not reach a library: it might take it for a name to ask the hub about.

        Raises:
            InputError: as ``folder``.
        """
        return str(self.folder or self.name)

    def refuse(self, problem: str) -> NoReturn:
        """Raise an InputError that names this URI."""
        raise InputError(f"encoder {self}: {problem}")

    def expect(self, *options: str, revision: bool = False) -> None:
        """Refuse every option but these, and a revision unless the scheme has them.

        Raises:
            InputError: names the unknown option and the nearest valid one.
        """
        for key in self.options:
            if not options:
                self.refuse(f"{self.scheme}: encoders take no options, so not '{key}'")
            if key not in options:
                self.refuse(f"unknown option '{key}'{nearest(key, options)}")
        if self.revision is not None and not revision:
            self.refuse(
                f"{self.scheme}: encoders have no revisions; leave '@{self.revision}' out"
                " (an '@' that belongs to the name is written %40)"
            )

    def integer(self, key: str) -> int | None:
        """The option as a whole number; None where it is absent.

        Raises:
            InputError: it is not one.
        """
        text = self.options.get(key)
        if text is None:
            return None
        if not re.fullmatch(r"[+-]?\d{1,9}", text.strip()):
            self.refuse(f"option {key}={text} is not a whole number")
        return int(text)

    def seconds(self, key: str) -> float | None:
        """The option as a positive duration of at most an hour; None where it is absent.

        Raises:
            InputError: it is not one.
        """
        text = self.options.get(key)
        if text is None:
            return None
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not 0 < value <= 3600:
            self.refuse(f"option {key}={text} is not a duration in seconds (above 0, at most 3600)")
        return value

    def choice(self, key: str, valid: tuple[str, ...]) -> str | None:
        """The option, which must be one of ``valid``; None where it is absent.

        Raises:
            InputError: it is none of them.
        """
        text = self.options.get(key)
        if text is None:
            return None
        text = text.strip()
        if text not in valid:
            self.refuse(f"option {key}={text} is unknown{nearest(text, valid)}")
        return text

    def names(self, key: str) -> tuple[str, ...]:
        """The option's parts between commas, in their order; none where it is absent.

        Raises:
            InputError: a part is empty, or stands there twice.
        """
        text = self.options.get(key)
        if text is None:
            return ()
        parts = tuple(part.strip() for part in text.split(","))
        if not all(parts):
            self.refuse(f"option {key}={text}: there is nothing before or behind a comma")
        for part in parts:
            if parts.count(part) > 1:
                self.refuse(f"option {key}={text}: '{part}' stands there twice")
        return parts


def _existing_folder(name: str) -> Path | None:
    try:
        folder = Path(name).expanduser()
        return folder.resolve() if folder.is_dir() else None
    except (OSError, RuntimeError):  # a name that no file can have, or no such user
        return None


def parse_uri(text: str) -> EncoderURI:
    """Parse ``scheme:name[@revision][?key=value&...]``.

    The name may hold colons and slashes; ``@``, ``?``, ``&`` and ``%`` that belong to a name or a
    value are percent-encoded (%40, %3F, %26, %25). What stands before the first colon may also be a
    dotted module, as in ``package.module:Class``. A space at the end of a value belongs to it, as
    in ``?prefix=passage: ``.

    Raises:
        InputError: the text does not have this form.
    """
    head, _, query = text.lstrip().rstrip("\t\r\n").partition("?")
    head = head.strip()
    if head == "melstats":  # the one scheme with a single encoder
        head = "melstats:64"
    scheme, colon, rest = head.partition(":")
    form = "write scheme:name[@revision][?key=value&...]"
    if not colon or not rest or not _DOTTED.fullmatch(scheme):
        uri = meant(text) if not colon else None
        hint = f" (did you mean '{uri}'?)" if uri else ""
        example = "" if uri else ", as in packaged:minilm or torchvision:resnet50"
        raise InputError(f"encoder '{text}': not an encoder URI{hint}; {form}{example}")
    name, at, revision = rest.rpartition("@")
    if not at:
        name, revision = rest, ""
    elif not name or not revision:
        raise InputError(f"encoder '{text}': the name or the revision beside '@' is empty; {form}")
    options: dict[str, str] = {}
    for pair in query.split("&") if query else []:
        key, equals, value = pair.partition("=")
        if not equals or not key or not value:
            raise InputError(f"encoder '{text}': '{pair}' is not key=value; {form}")
        # unquote, not unquote_plus: a plus in a file's name stays a plus.
        if unquote(key) in options:
            raise InputError(f"encoder '{text}': option '{unquote(key)}' stands there twice")
        options[unquote(key)] = unquote(value)
    return EncoderURI(scheme, unquote(name), unquote(revision) or None, options)


@contextmanager
def loading(uri: EncoderURI) -> Iterator[None]:
    """Turn whatever a library raises while it loads a model into one line that names the URI.

    Raises:
        InputError: in place of every other exception; the original is its cause.
    """
    try:
        # Standard output is for results; some libraries report their downloads there.
        with redirect_stdout(sys.stderr):
            yield
    except InputError:
        raise
    except SystemExit as error:
        raise InputError(
            f"encoder {uri}: cannot be loaded: its code called sys.exit({error.code!r})"
        ) from error
    except Exception as error:
        # Libraries raise anything here, from OSError to their own classes.
        printable = "".join(c if c.isprintable() else " " for c in str(error))
        summary = " ".join(printable.split())[:300] or "no reason given"
        if isinstance(error, URLError) and not isinstance(error, HTTPError):
            summary += "; without a network use ?weights=FILE or packaged:NAME"
        raise InputError(
            f"encoder {uri}: cannot be loaded ({type(error).__name__}: {summary})"
        ) from error

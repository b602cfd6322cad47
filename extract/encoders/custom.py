"""A person's own encoder: ``package.module:Class?key=value``, imported and constructed safely."""

import importlib
import inspect
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from extract.encoders.base import MODALITIES, Encoder, are_modalities
from extract.encoders.uri import EncoderURI, loading
from extract.errors import InputError, nearest


@contextmanager
def working_folder_importable() -> Iterator[None]:
    """Put the working folder first on ``sys.path``, as ``python`` does, and take it off again.

    The console script does not have it there, and must not keep it: what else is imported later
    would be looked for among a person's files first.
    """
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(folder)


def import_class(uri: EncoderURI, schemes: Sequence[str]) -> type[Encoder]:
    """Import the class that ``package.module:Class`` names.

    Args:
        uri: its scheme is the module, its name the class.
        schemes: what the scheme may have been meant to be.

    Raises:
        InputError: no such module or class, an import that fails, or not an Encoder.
    """
    with working_folder_importable():
        try:
            found = importlib.util.find_spec(uri.scheme) is not None
        except ModuleNotFoundError:
            found = False
        except (Exception, SystemExit) as error:  # a package's own __init__ runs here
            uri.refuse(f"importing {uri.scheme} failed ({type(error).__name__}: {error})")
        if not found:
            raise InputError(
                f"encoder {uri}: '{uri.scheme}' is neither an encoder scheme nor a module that can"
                f" be imported from here{nearest(uri.scheme, list(schemes))}"
            )
        with loading(uri):
            module = importlib.import_module(uri.scheme)
    cls = getattr(module, uri.name, None)
    encoders = [
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Encoder) and value is not Encoder
    ]
    if cls is None:
        uri.refuse(f"{uri.scheme} has no class '{uri.name}'{nearest(uri.name, encoders)}")
    if uri.name not in encoders:
        uri.refuse(f"{uri.name} is not a subclass of extract.Encoder")
    chosen: type[Encoder] = cls
    return chosen


def construct(cls: type[Encoder], uri: EncoderURI) -> Encoder:
    """Construct a class with the URI's options as text keyword arguments.

    Raises:
        InputError: an option that the class does not take, a method or attribute that it lacks, or
            whatever its constructor raises.
    """
    if uri.revision is not None:
        uri.refuse("a class of your own has no revisions")
    abstract = sorted(getattr(cls, "__abstractmethods__", ()))
    if abstract:
        uri.refuse(f"the class lacks {', '.join(abstract)}()")
    try:
        inspect.signature(cls).bind(**uri.options)
    except TypeError as error:
        uri.refuse(f"its options do not fit the class ({error})")
    with loading(uri):
        encoder = cls(**uri.options)
    for attribute in ("modalities", "dim", "space"):
        if not hasattr(encoder, attribute):
            uri.refuse(f"the class lacks the attribute '{attribute}'")
    if not are_modalities(encoder.modalities):
        uri.refuse(
            f"its modalities must be a tuple of some of {', '.join(MODALITIES)};"
            f" they are {encoder.modalities!r}"
        )
    return encoder

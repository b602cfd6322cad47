"""Model folders to and from elsewhere: another folder, or a repository of a model hub.

A folder of ours already has a hub's layout: a README.md with metadata, config.json, safetensors,
Parquet. What comes in is checked file by file; nothing of it is ever run.
"""

import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from extract.errors import InputError
from extract.files import atomic_folder, write_text
from extract.locations import remote_failure
from mmssl.recommend.model_files import (
    FEATURES,
    FILES,
    ITEM_GRAPH,
    PARTS,
    VECTORS,
    folder_of,
    read_model_manifest,
)
from mmssl.recommend.model_folder import SavedModel

_CARD, _CONFIG = "README.md", "config.json"
_KNOWN = FILES | {VECTORS, ITEM_GRAPH, PARTS, FEATURES, _CARD, _CONFIG}
_REPOSITORY = re.compile(r"hub:([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?")


@dataclass(frozen=True)
class Transfer:
    """What ``push`` or ``pull`` carried, and where to."""

    model: str
    """Name and variant."""
    users: int
    items: int
    place: str
    """The folder, or ``hub:OWNER/NAME@COMMIT``."""
    origin: str
    """Where it came from; of a hub with the commit."""

    def lines(self) -> list[str]:
        """The transfer as lines of text for people."""
        return [
            f"{self.place}: {self.model}, users {self.users:,}, items {self.items:,}; from"
            f" {self.origin}",
            "users.parquet and seen.safetensors hold the users' ids and what each interacted with",
        ]


def push(source: Path, to: str, *, license: str | None = None, public: bool = False) -> Transfer:
    """Copy a trained model into a folder, or into a repository of a hub.

    The files keep their bytes, so that the lists stay the same to the bit; the card is written
    anew. A repository that is not there is made, private unless ``public``. Ids and histories of
    the users are part of a model folder; a public repository has to be asked for.

    Args:
        source: a run, or its model folder.
        to: a folder, or ``hub:OWNER/NAME``.
        license: an identifier for the card, as ``apache-2.0``.
        public: also push to a repository that everybody can read.

    Raises:
        InputError: no whole model at ``source``, something else at ``to``, or the hub refuses.
    """
    folder = folder_of(source)
    if not (folder / _CONFIG).is_file():
        raise InputError(f"--model {source}: no trained model here; name a finished run")

    def card(model: SavedModel) -> str:
        return model.card(license)

    if not to.startswith("hub:"):
        if public:
            raise InputError(f"--public does not apply to the folder {to}: it is about hub:...")
        model = _copy(folder, str(folder), Path(to), "--to", card)
        return _transfer(model, to, str(source))
    repository, revision = _parsed(to)
    if revision is not None:
        raise InputError(f"--to {to}: a revision is made by pushing; leave out @{revision}")
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as staged, _at_hub(to):
        model = _copy(folder, str(folder), Path(staged) / "model", "--to", card)
        hub = HfApi()
        hub.create_repo(repository, private=not public, exist_ok=True)
        if not public and not hub.model_info(repository).private:
            raise InputError(
                f"--to {to}: everybody can read this repository, and a model folder holds the ids"
                " and histories of its users; if that is meant, say --public"
            )
        there = {path.name for path in (Path(staged) / "model").iterdir()}
        with warnings.catch_warnings():
            # Our ids are Parquet, which the library would rather see in a data set.
            warnings.filterwarnings("ignore", message=".*about to commit a data file")
            commit = hub.upload_folder(
                repo_id=repository,
                folder_path=Path(staged) / "model",
                commit_message=f"{model.info.name}, variant {model.info.variant}",
                # What an earlier model had and this one has not.
                delete_patterns=sorted(_KNOWN - there),
            )
    return _transfer(model, f"hub:{repository}@{commit.oid}", str(source))


def pull(origin: str, out: Path) -> Transfer:
    """Copy a model from a folder or a hub's repository into a folder, which appears when whole.

    Only files with the names of a model folder's are fetched; each is compared with its digest.

    Args:
        origin: a folder, or ``hub:OWNER/NAME``, perhaps with ``@REVISION``; without one the newest
            commit is taken, and named in the answer.
        out: the folder to make; a model folder there is replaced, anything else is not.

    Raises:
        InputError: no whole model at ``origin``, a file there that no model folder has, a link,
            something else at ``out``, or the hub refuses.
    """
    with _fetched(origin) as (folder, name):
        model = _copy(folder, name, out, "--out")
        return _transfer(model, str(out), name)


def from_pretrained(origin: str) -> SavedModel:
    """The model of a folder or of ``hub:OWNER/NAME[@REVISION]``, checked as ``pull`` checks it.

    Raises:
        InputError: as ``pull``.
    """
    with _fetched(origin) as (folder, name), tempfile.TemporaryDirectory() as copied:
        return _copy(folder, name, Path(copied) / "model", "--out")


@contextmanager
def _fetched(origin: str) -> Iterator[tuple[Path, str]]:
    """A folder with the files of ``origin``, and its full name."""
    if not origin.startswith("hub:"):
        folder = folder_of(Path(origin))
        if not (folder / _CONFIG).is_file():
            raise InputError(f"--from {origin}: no model folder (it has no {_CONFIG})")
        yield folder, origin
        return
    repository, revision = _parsed(origin)
    from huggingface_hub import HfApi, snapshot_download

    with tempfile.TemporaryDirectory() as fetched:
        with _at_hub(origin):
            info = HfApi().model_info(repository, revision=revision)
            _refuse_strange([file.rfilename for file in info.siblings or ()], origin)
            # Into a folder of its own: the cache of the hub's library consists of links.
            snapshot_download(
                repository,
                revision=info.sha,
                local_dir=fetched,
                allow_patterns=sorted(_KNOWN),
            )
        yield Path(fetched), f"hub:{repository}@{info.sha}"


def _copy(
    folder: Path,
    name: str,
    out: Path,
    option: str,
    card: Callable[[SavedModel], str] | None = None,
) -> SavedModel:
    """Copy what a model folder consists of, and read the copy, which checks it.

    Args:
        folder: where the files are.
        name: what to call it in errors.
        out: the folder to make.
        option: the one that named it.
        card: makes the README.md; without it the one that is there is copied.
    """
    _refuse_strange([path.name for path in folder.iterdir()], name)
    _require_free(out, option)
    with atomic_folder(out) as new:
        try:
            _copy_file(folder, new, _CONFIG)
            for file in sorted(read_model_manifest(new / _CONFIG).files):
                _copy_file(folder, new, file)
            model = SavedModel.load(new)
            if card is not None:
                write_text(new / _CARD, card(model))
            elif (folder / _CARD).exists():
                _copy_file(folder, new, _CARD)
        except InputError as error:
            said = str(error).replace(str(new), name).replace(str(folder), name)
            raise InputError(said) from None
    return model


def _copy_file(folder: Path, new: Path, name: str) -> None:
    path = folder / name
    if path.is_symlink():
        raise InputError(f"{path}: a link; a model folder consists of files")
    if not path.is_file():
        raise InputError(f"{path}: missing; the model folder is not complete")
    shutil.copyfile(path, new / name)


def _refuse_strange(names: Collection[str], where: str) -> None:
    # Hidden files, as .git and .gitattributes, are a hub's own; they are never copied.
    strange = sorted(name for name in names if name not in _KNOWN and not name.startswith("."))
    if strange:
        raise InputError(
            f"{where}: holds {strange[0]!r}, which no model folder has; nothing was taken from it"
        )


def _require_free(out: Path, option: str) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{option} {out}: a file stands where the folder should be; name another")
    names = {path.name for path in out.iterdir()}
    if names and (_CONFIG not in names or not names <= _KNOWN):
        raise InputError(
            f"{option} {out}: the folder holds something other than a model and is left as it is;"
            " name another"
        )


def _parsed(text: str) -> tuple[str, str | None]:
    found = _REPOSITORY.fullmatch(text)
    if found is None:
        raise InputError(f"{text}: not of the form hub:OWNER/NAME or hub:OWNER/NAME@REVISION")
    return found[1], found[2]


def _transfer(model: SavedModel, place: str, origin: str) -> Transfer:
    name = f"{model.info.name}, variant {model.info.variant}"
    return Transfer(name, len(model.user_ids), len(model.item_ids), place, origin)


@contextmanager
def _at_hub(place: str) -> Iterator[None]:
    """What the hub's library raises, as one line; its progress only where a person sees it."""
    from huggingface_hub import errors
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    quiet = not sys.stderr.isatty() and not are_progress_bars_disabled()
    try:
        if quiet:
            disable_progress_bars()
        yield
    except errors.OfflineModeIsEnabled:
        raise InputError(
            f"{place}: the model hub is switched off (HF_HUB_OFFLINE); unset it, or name a folder"
        ) from None
    except errors.RepositoryNotFoundError:
        raise InputError(
            f"{place}: no such repository, or none that you may use; for a private one set HF_TOKEN"
        ) from None
    except errors.RevisionNotFoundError:
        raise InputError(f"{place}: the repository has no such revision") from None
    except Exception as error:
        said = remote_failure(error)
        if said is None:
            raise
        raise InputError(f"{place}: {said}") from None
    finally:
        if quiet:
            enable_progress_bars()

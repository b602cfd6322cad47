"""What ``prepare`` does, checked before it reads anything."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from extract.errors import InputError, nearest
from extract.locations import LocationField
from mmssl.data.files.matrices import find_matrices
from mmssl.data.filters import Duplicates
from mmssl.data.formats.registry import AUTO, format_names
from mmssl.data.formats.tables import find_interactions
from mmssl.data.interactions import Columns, InvalidRows
from mmssl.data.splits import SplitRule
from mmssl.project import Project

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Core = Annotated[int, Field(ge=1)]
UnknownItems = Literal["keep", "drop", "error"]
PARTS = ("train", "val", "test")


def refuse_modality_name(modality: str, source: Path | None = None) -> None:
    """Refuse what cannot be a modality's name.

    Args:
        modality: the name.
        source: whose files bear the name; None: it is an option's.

    Raises:
        InputError: it would be no name of a folder, or of a part of a model.
    """
    named = f"--features {modality}" if source is None else f"{source}: features '{modality}'"
    # The name becomes a folder.
    if not modality.replace("-", "").replace("_", "").isalnum():
        raise InputError(f"{named}: a modality's name is letters, digits, - and _")
    # Beside the modalities a model's score has these parts, and its items these spaces.
    if modality in ("collaborative", "model"):
        raise InputError(f"{named}: a part of every model has this name; take another")


class PrepareConfig(BaseModel):
    """What ``prepare`` reads, how it filters and splits, and where the dataset goes.

    Either ``interactions``, which are filtered and split, or a ready split: ``train``, ``val`` and
    ``test``, or ``source``, another tool's files, whose interactions are one or the other. An
    option that does not apply to what is given is refused, never ignored.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    out: Path
    """The dataset's folder: absent, empty, or a dataset."""
    source: Path | None = None
    """The folder, or file, of a layout that ``mmssl.data.formats`` knows."""
    source_format: str = AUTO
    """Which layout, by its name; on the command line ``--from``."""
    interactions: Path | None = None
    """Interactions to filter and split."""
    train: Path | None = None
    """The training part of a ready split."""
    val: Path | None = None
    """Its validation part."""
    test: Path | None = None
    """Its test part."""
    columns: Columns | None = None
    """Where the values are; also as text, ``user=NAME,item=NAME,rating=NAME,timestamp=NAME``."""
    header: bool | None = None
    """Whether CSV and TSV begin with a header row; None: unless columns are given by position."""
    invalid_rows: InvalidRows = "error"
    """What an empty id, a rating that is no finite number or an unreadable timestamp leads to."""
    min_rating: float | None = Field(default=None, allow_inf_nan=False)
    """Keep interactions rated at least this; applied to the one duplicate that is kept."""
    duplicates: Duplicates = "last"
    """Which interaction of a (user, item) pair is kept: by time, or by row without timestamps."""
    user_core: Core = 1
    """Keep users with at least this many interactions (iterated with ``item_core``)."""
    item_core: Core = 1
    """Keep items with at least this many interactions (iterated with ``user_core``)."""
    split: SplitRule = "random"
    """How interactions are dealt out; the rules are those of ``mmssl.data.splits``."""
    ratios: tuple[Share, Share, Share] = (0.8, 0.1, 0.1)
    """Shares of training, validation and test; also as text, ``0.8,0.1,0.1``."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the split's chance."""
    items: Path | None = None
    """The item table: its items belong to the dataset even if nobody ever touched them."""
    id_column: str | None = None
    """The item table's column of ids; None: ``item_id``, ``id`` or ``item``."""
    features: dict[str, LocationField] = Field(default_factory=dict)
    """Per modality, a feature store (a folder) or a ready .npy."""
    feature_ids: dict[str, Path] = Field(default_factory=dict)
    """Per modality with a .npy, a text file whose line r is the item id of row r."""
    unknown_items: UnknownItems | None = None
    """What happens to interactions with items that neither ``items`` nor ``features`` know. None:
    ``drop`` when there is an item table, for it says what exists; otherwise ``keep``, since an
    item without features is still an item (all its modalities are missing)."""
    overwrite: bool = False
    """Replace another dataset in ``out``."""

    @field_validator("columns", mode="before")
    @classmethod
    def _columns_from_text(cls, value: Any) -> Any:
        return Columns.parse(value) if isinstance(value, str) else value

    @field_validator("ratios", mode="before")
    @classmethod
    def _ratios_from_text(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        shares = tuple(value.split(","))
        if len(shares) != 3:
            raise InputError(
                f"--ratios {value}: give three shares, training, validation and test, as"
                " 0.8,0.1,0.1"
            )
        return shares

    @model_validator(mode="after")
    def _consistent(self) -> "PrepareConfig":
        # InputError passes through pydantic as it is, and is already one line for people.
        given = [part for part in PARTS if getattr(self, part) is not None]
        if self.source_format not in (AUTO, *format_names()):
            raise InputError(
                f"--from {self.source_format}: no such format"
                f"{nearest(self.source_format, format_names())}"
            )
        if self.source is None and "source_format" in self.model_fields_set:
            raise InputError(f"--from {self.source_format}: name the folder to read, too")
        if self.source is not None and (self.interactions is not None or given):
            named = "interactions" if self.interactions is not None else given[0]
            raise InputError(f"give a source ({self.source}) or --{named}, not both")
        if self.interactions is not None and given:
            raise InputError(f"give --interactions or a ready split (--{given[0]}), not both")
        if self.source is None and self.interactions is None and len(given) < len(PARTS):
            missing = [part for part in PARTS if part not in given]
            raise InputError(
                f"a ready split needs --{', --'.join(missing)} too"
                if given
                else "nothing to prepare: give --interactions FILE, or --train, --val and --test,"
                " or the folder of another tool"
            )
        tables = [
            path
            for path in (self.interactions, self.train, self.val, self.test)
            if path is not None
        ]
        if given:
            self.refuse_split_options()
        for option, why in (
            *(
                (("ratios", f"split '{self.split}' takes one interaction a user"),)
                if self.split.startswith("leave-one-out")
                else ()
            ),
            *(
                (("seed", f"split '{self.split}' leaves nothing to chance"),)
                if self.split in ("leave-one-out", "temporal-global")
                else ()
            ),
            *(
                (option, "the interactions are .json, whose users and items have no columns")
                for option in ("columns", "header")
                if tables and all(path.suffix.lower() == ".json" for path in tables)
            ),
            *(
                (option, "the source's layout says where the values are")
                for option in ("columns", "header")
                if self.source is not None
            ),
            *((("id_column", "there is no --items"),) if self.items is None else ()),
            *(
                (("unknown_items", "neither --items nor --features says which items are known"),)
                if self.items is None and not self.features and self.source is None
                else ()
            ),
        ):
            self._refuse(option, why)
        if not self.ratios[0] or abs(sum(self.ratios) - 1) > 1e-6:
            raise InputError(f"--ratios {self.ratios}: three shares that add up to 1, train > 0")
        for modality in self.feature_ids:
            if modality not in self.features:
                raise InputError(f"--feature-ids {modality}: there is no --features {modality}=...")
        for modality in self.features:
            refuse_modality_name(modality)
        return self

    def refuse_split_options(self) -> None:
        """Refuse the options that make a split; for interactions that bring one.

        Raises:
            InputError: one of them was given.
        """
        for option in ("split", "ratios", "seed", "user_core", "item_core"):
            self._refuse(option, "a ready split is taken as it is")

    def _refuse(self, option: str, why: str) -> None:
        if option in self.model_fields_set:
            name = "no-header" if option == "header" and not self.header else option
            raise InputError(f"--{name.replace('_', '-')} does not apply: {why}")

    @classmethod
    def parse(cls, values: Mapping[str, Any], project: Path | None = None) -> "PrepareConfig":
        """Validate plain values, None standing for "not given".

        When the interactions or ``out`` are not given, or ``project`` is, what is missing comes
        from the project: ``interactions.csv`` (or ``train.csv``, ``val.csv`` and ``test.csv``),
        ``items.csv``, the stores under ``features/`` and the matrices ``<modality>_feat.npy`` as
        far as they exist, and ``data`` for ``out``.

        Raises:
            InputError: an unknown option or a bad value, in one line, or no project to be found.
        """
        given = {name: value for name, value in values.items() if value not in (None, {})}
        sourced = any(name in given for name in ("source", "interactions", *PARTS))
        if project is not None or "out" not in given or not sourced:
            found = _from_project(Project.find(project), sourced=sourced)
            if "features" in given:
                found.pop("feature_ids", None)
            given = found | given
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            problem = error.errors()[0]
            name = str(problem["loc"][0]) if problem["loc"] else ""
            if problem["type"] == "extra_forbidden":
                hint = nearest(name, list(cls.model_fields))
                raise InputError(f"unknown option '{name}'{hint}") from None
            raise InputError(
                f"--{name.replace('_', '-')} {given.get(name)}: {problem['msg']}"
            ) from None


def _from_project(project: Project, *, sourced: bool) -> dict[str, Any]:
    values: dict[str, Any] = {"out": project.data}
    if not sourced:
        files = find_interactions(project.root)
        values |= files or {"interactions": project.root / "interactions.csv"}
    if project.items.is_file():
        values["items"] = project.items
    matrices = find_matrices(project.root)
    stores = sorted((project.root / "features").glob("*/manifest.json"))
    features = matrices | {store.parent.name: store.parent for store in stores}
    if features:
        values["features"] = features
    ids = {
        modality: path.with_suffix(".ids.txt")
        for modality, path in matrices.items()
        if features[modality] == path and path.with_suffix(".ids.txt").is_file()
    }
    return values | ({"feature_ids": ids} if ids else {})

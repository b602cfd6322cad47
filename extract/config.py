"""What an extraction is: one modality of one item table, through one encoder, into one store."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from extract.encoders.base import MODALITIES, Modality
from extract.errors import InputError, nearest
from extract.locations import Location, LocationField

Count = Annotated[int, Field(ge=1)]

FrameSampling: TypeAlias = Literal["uniform", "scene"]

FRAMES = 8
"""Frames of a video where none are named."""


class ExtractionConfig(BaseModel):
    """Options of ``extract.run``; the command line's options bear the same names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    items: LocationField
    """The item table (CSV, TSV, Parquet, JSONL), or a folder of files whose stems are the ids: a
    path, or a URL that fsspec knows."""
    modality: Modality
    """What is encoded: ``image``, ``text``, ``audio`` or ``video``."""
    out: LocationField
    """The folder of the feature store, or the URL of one; made if absent."""
    encoder: str | None = None
    """Encoder URI; the modality's packaged encoder when left out."""
    id_column: str | None = None
    """Column of the ids; ``item_id``, ``id`` or ``item`` when left out."""
    column: str | None = None
    """Column of the paths or texts; the modality's usual names are tried when left out."""
    text_template: str | None = None
    """Texts from several columns, as ``{title}. {description}``; an empty cell gives nothing."""
    media_roots: tuple[LocationField, ...] = ()
    """Folders, besides the table's own, whose files may be read; paths or URLs."""
    max_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 600.0
    """A longer sound or video is recorded as failed."""
    frames: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Of a video: how many frames are taken; 8 when left out."""
    frame_sampling: FrameSampling | None = None
    """Of a video: ``uniform``, in the middle of equal pieces (when left out), or ``scene``, the
    middle frame of each scene, at most ``frames``."""
    batch_size: Count = 32
    """Items, of videos frames, that the encoder sees at once."""
    workers: Count | None = None
    """Threads that decode and preprocess; the number of processors when left out. With Ray: of
    each actor."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Precision of the encoder; vectors are stored as float32."""
    compile: bool = False
    """Run the encoder's networks through ``torch.compile``: slow to begin, then faster."""
    rows_per_part: Count = 1024
    """Rows of the table that are finished, or after a kill lost, together."""
    max_errors: Annotated[int, Field(ge=0)] | None = None
    """End with TooManyErrors once more items than this have failed; never when left out."""
    update: bool = False
    """Compare every item's content with what the store was made from, and encode anew the parts in
    which one has changed or has left the table."""
    overwrite: bool = False
    """Remove a store that stands at ``out`` and begin anew."""
    engine: Literal["local", "ray"] = "local"
    """Who encodes: this process, or actors on a Ray cluster."""
    ray_address: str | None = None
    """``host:port`` of the Ray cluster's head node, or ``auto``; when left out, a cluster of this
    machine's processors is started and ended."""
    actors: Count | None = None
    """Ray actors, each with the encoder; as many as the cluster has room for when left out."""

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_video(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and values.get("modality") == "video":
            given = {name: value for name, value in values.items() if value is not None}
            return {"frames": FRAMES, "frame_sampling": "uniform", **given}
        return values

    @model_validator(mode="after")
    def _frames_are_of_videos(self) -> Self:
        if self.modality != "video":
            for name in ("frames", "frame_sampling"):
                if getattr(self, name) is not None:
                    option = name.replace("_", "-")
                    raise ValueError(f"{option} acts on the modality video, not on {self.modality}")
        return self

    @model_validator(mode="after")
    def _one_source_of_text(self) -> Self:
        if self.text_template is not None and self.modality != "text":
            raise ValueError(f"a text template acts on the modality text, not on {self.modality}")
        if self.text_template is not None and self.column is not None:
            raise ValueError("give a column or a text template, not both")
        if self.update and self.overwrite:
            raise ValueError("give --update or --overwrite, not both")
        return self

    @model_validator(mode="after")
    def _options_of_ray(self) -> Self:
        for name in ("ray_address", "actors"):
            if self.engine != "ray" and getattr(self, name) is not None:
                raise ValueError(f"{name.replace('_', '-')} acts with engine ray only")
        if self.engine == "ray" and self.device not in ("auto", "cpu", "cuda"):
            raise ValueError(
                f"device {self.device}: with engine ray write auto, cpu or cuda; Ray decides which"
                " GPU an actor gets"
            )
        return self

    @property
    def items_at_once(self) -> int:
        """Items in a batch: as many videos as have ``batch_size`` frames, but one at least."""
        return max(1, self.batch_size // (self.frames or 1))

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> "ExtractionConfig":
        """Validate plain values.

        Raises:
            InputError: an unknown option (with the nearest valid one) or a bad value, in one line.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problem = error.errors()[0]
            name = str(problem["loc"][0]) if problem["loc"] else ""
            if problem["type"] == "extra_forbidden":
                hint = nearest(name, list(cls.model_fields))
                raise InputError(f"unknown extraction option '{name}'{hint}") from None
            message = problem["msg"].removeprefix("Value error, ")
            if name:
                message = f"{name.replace('_', '-')} {problem['input']!r}: {message}"
            raise InputError(message) from None

    def to_yaml(self) -> str:
        """Every option, as one YAML document."""
        values = self.model_dump(mode="json")
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, explicit_start=True)


def parse_modalities(values: Sequence[str]) -> list[Modality]:
    """Modalities from repeated options and comma lists: ``["image,text"]`` -> image, text.

    Raises:
        InputError: an unknown modality, or one given twice.
    """
    found: list[Modality] = []
    for name in ",".join(values).split(","):
        known = next((modality for modality in MODALITIES if modality == name.strip()), None)
        if known is None:
            raise InputError(f"unknown modality '{name.strip()}'{nearest(name, MODALITIES)}")
        if known in found:
            raise InputError(f"modality '{known}' is given twice")
        found.append(known)
    return found


def plan_extractions(
    outs: Mapping[Modality, Location],
    *,
    encoder: str | None = None,
    columns: Sequence[str] = (),
    text_template: str | None = None,
    frames: int | None = None,
    frame_sampling: str | None = None,
    max_seconds: float | None = None,
    media_roots: Sequence[Any] = (),
    **options: Any,
) -> list[ExtractionConfig]:
    """One configuration a modality, from the options of a command line.

    Args:
        outs: the store of each modality.
        encoder: URI of the encoder for all of them; each one's packaged encoder when left out.
        columns: ``NAME`` where there is one modality, ``MODALITY=NAME`` where there are several.
        text_template: given to the modality text alone.
        frames: given to the modality video alone.
        frame_sampling: given to the modality video alone.
        max_seconds: given to audio and video alone.
        media_roots: given to modalities of files alone.
        options: what all have in common, as ``ExtractionConfig`` names it.

    Raises:
        InputError: an option that acts on none of the modalities, or a bad value.
    """
    from extract.encoders.registry import default_encoder

    named: dict[Modality, str] = {}
    for column in columns:
        modality, name = _modality_of(column, list(outs))
        if modality in named:
            raise InputError(f"--column {column}: {modality} has a column already")
        named[modality] = name
    if text_template is not None and "text" not in outs:
        raise InputError(f"--text-template acts on text, not on {', '.join(outs)}")
    for option, value in (("--frames", frames), ("--frame-sampling", frame_sampling)):
        if value is not None and "video" not in outs:
            raise InputError(f"{option} acts on video, not on {', '.join(outs)}")
    timed = {"audio", "video"}
    if max_seconds is not None and not timed & outs.keys():
        raise InputError(f"--max-seconds acts on audio and video, not on {', '.join(outs)}")
    if media_roots and not outs.keys() - {"text"}:
        raise InputError("--media-root acts on files; texts stand in the table itself")
    return [
        ExtractionConfig.parse(
            {
                **options,
                **({"media_roots": media_roots} if modality != "text" else {}),
                **(
                    {"max_seconds": max_seconds}
                    if max_seconds is not None and modality in timed
                    else {}
                ),
                "frames": frames if modality == "video" else None,
                "frame_sampling": frame_sampling if modality == "video" else None,
                "modality": modality,
                "encoder": encoder or default_encoder(modality),
                "out": out,
                "column": named.get(modality),
                "text_template": text_template if modality == "text" else None,
            }
        )
        for modality, out in outs.items()
    ]


def _modality_of(column: str, modalities: Sequence[Modality]) -> tuple[Modality, str]:
    prefix, equals, name = column.partition("=")
    for modality in modalities:
        if equals and prefix == modality:
            return modality, name
    if len(modalities) == 1:
        return modalities[0], column
    raise InputError(
        f"--column {column}: with several modalities write MODALITY=NAME, as {modalities[0]}=NAME"
    )

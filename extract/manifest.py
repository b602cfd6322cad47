"""A feature store's manifest: what all its vectors have in common."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from extract.encoders.base import Modality


class StoreManifest(BaseModel):
    """What every vector of a store has in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["mmssl-feature-store"] = "mmssl-feature-store"
    schema_version: Literal[3] = 3
    modality: Modality
    encoder: str
    """Encoder URI, or the class of an encoder that was handed over as an object."""
    fingerprint: dict[str, Any]
    """What the encoder says its vectors depend on: weights' digest, preprocessing, pooling..."""
    dim: int = Field(ge=1)
    space: str
    dtype: str
    """Precision the encoder computed in; the vectors are float32."""
    source: str
    """Where texts or paths came from: a column, a template or a folder."""
    decoding: dict[str, Any]
    """Options of decoding that decide which media are refused."""
    rows_per_part: int = Field(ge=1)
    libraries: dict[str, str]
    """Versions at the beginning; recorded, and not compared when a run goes on."""

    def differences(self, wanted: "StoreManifest") -> list[str]:
        """What a run that would write ``wanted`` does otherwise than this store, in words."""
        found = []
        for name in StoreManifest.model_fields:
            here, there = getattr(self, name), getattr(wanted, name)
            if name == "libraries" or here == there:
                continue
            if isinstance(here, dict):
                for key in sorted(here.keys() | there.keys()):
                    if here.get(key) != there.get(key):
                        found.append(f"{name}.{key} {_short(here.get(key), there.get(key))}")
            else:
                found.append(f"{name} {_short(here, there)}")
        return found


def _short(here: Any, there: Any) -> str:
    def shown(value: Any) -> str:
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:57]}..."

    return f"{shown(here)} there, {shown(there)} now"

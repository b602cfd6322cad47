"""The README.md of a model folder: what the model is, in words and figures for people."""

from pathlib import PurePath
from typing import Any

import yaml
from scipy.sparse import csr_array

from mmssl.recommend.model_info import ModelInfo


def model_card(
    info: ModelInfo,
    train: csr_array,
    val: csr_array,
    *,
    dim: int | None,
    item_graph: bool,
    license: str | None = None,
) -> str:
    """The model card as Markdown; every figure in it comes from the model itself.

    It begins with the metadata, in YAML, that model hubs read.

    Args:
        info: what the model is.
        train: U x I training interactions.
        val: U x I validation interactions.
        dim: length of the vectors; None where there are none.
        item_graph: whether an item graph scores, alone or beside the vectors.
        license: its identifier, as ``apache-2.0``; without one the card names none.
    """
    encoders = "\n".join(
        f"| {modality} | {f'`{uri}`' if uri else 'features made elsewhere'} |"
        for modality, uri in info.encoders.items()
    )
    figures = "\n".join(
        f"| {name} | {value:.4f} | {info.popularity[name]:.4f} |"
        for name, value in info.metrics.items()
    )
    protocol = "\n".join(f"- {key}: {_plain(value)}" for key, value in info.protocol.items())
    users, items = train.shape
    cold_users = int((train.sum(axis=1) == 0).sum())
    cold_items = int((train.sum(axis=0) == 0).sum())
    origin = "interactions and the items' media" if info.encoders else "interactions alone"
    told = {
        "vectors": (
            f"the inner product of two vectors ({dim} numbers each)",
            "`vectors.safetensors` (final user and item vectors)",
        ),
        "graph": (
            "what the items of a user's history send along a graph",
            "`item_graph.safetensors` (weights from item to item)",
        ),
    }
    parts = [told["vectors"]] * (dim is not None) + [told["graph"]] * item_graph
    scoring = "an item's score for a user is " + ", plus ".join(what for what, _ in parts)
    scores = ", ".join(file for _, file in parts)
    unknown = (
        "Nothing is sent to a user without a training interaction"
        if dim is None
        else "A user without a training interaction has a vector that nothing was learned for"
    )
    media = f"\n| modality | encoder |\n|---|---|\n{encoders}\n" if info.encoders else ""
    return f"""\
---
{_metadata(info, license)}---

# {info.name}, variant {info.variant}

A recommender made from {origin}: {scoring}.

## Data

{users:,} users, {items:,} items, {train.nnz:,} training and {val.nnz:,} validation
interactions. Without any training interaction: users {cold_users:,}, items {cold_items:,}.
Dataset: `{info.data}`, digest `{info.data_digest}`.
{media}
## Validation

Epoch {info.best_epoch}, seed {info.seed}. The epoch was chosen on these validation interactions, so
that figures on interactions not used for any choice are likely to be lower.

| metric | this model | popularity |
|---|---|---|
{figures}

How it was measured:

{protocol}

## Use

Lists of items for the users of this dataset:

```
python cli.py recommend --model RUN --top-k 20 --out recs.csv
```

## Intended use

Ordering the items of this catalogue for the people whose interactions it was trained on, where
those interactions were made, and research. It is not made for decisions about people, nor to find
out what somebody is like.

## Personal data

`users.parquet` holds the users' ids, `seen.safetensors` what each of them interacted with; the
graphs and the users' vectors come from that. They are personal data wherever an id leads to a
person: give this folder only to those who may have them.

## Limits

- It knows the users and items of its dataset alone, as they were when it was trained.
- {unknown}: `recommend` gives
  such a user the most popular items and marks the rows `popularity`.
- Scores order items for one user; they are no probabilities and cannot be compared across users.
- Who was shown what shapes the interactions; the model repeats such preferences and popularity.

## Files

`config.json` (settings, digests, library versions), `model.safetensors` (parameters),
{scores}, `graphs.safetensors` (relation graph of each
modality), `seen.safetensors` (training and validation interactions), `users.parquet`,
`items.parquet` (original ids in row order); for some models `parts.safetensors` (what each modality
brought to the vectors) and `features.safetensors` (the media's embeddings).
"""


def _metadata(info: ModelInfo, license: str | None) -> str:
    # A dataset's folder name, not the path to it: that is of one machine.
    dataset = {
        "name": PurePath(info.data).name or "interactions",
        "type": "interactions",
        "split": "validation",
        "revision": info.data_digest,
    }
    metrics = [
        {"type": name, "name": f"{name}, validation", "value": round(value, 6)}
        for name, value in info.metrics.items()
    ]
    values: dict[str, Any] = {
        **({} if license is None else {"license": license}),
        "library_name": "mmssl-toolkit",
        "pipeline_tag": "graph-ml",
        "tags": ["recommendation", "collaborative-filtering", info.name, *info.encoders],
    }
    if metrics:
        task = {"type": "graph-ml", "name": "Recommendation"}
        result = {"task": task, "dataset": dataset, "metrics": metrics}
        values["metrics"] = list(info.metrics)
        values["model-index"] = [{"name": f"{info.name}-{info.variant}", "results": [result]}]
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _plain(value: object) -> str:
    return ", ".join(str(part) for part in value) if isinstance(value, list | tuple) else str(value)

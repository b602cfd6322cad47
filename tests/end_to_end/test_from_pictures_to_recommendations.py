"""The whole path on the command line: pictures, one's own encoder, interactions, lists of ids."""

import json

import numpy as np
import polars as pl
import pytest
from PIL import Image

import cli

# Ids as people have them: dots, slashes, other letters, a number with zeros in front.
KINDS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}
ODD_IDS = ["a.b", "a/b", "пример", "007", "ε=mc²", "x y"]


@pytest.fixture
def run(capsys):
    def call(*arguments: object) -> str:
        with pytest.raises(SystemExit) as end:
            cli.run(cli.app, [str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert end.value.code == 0, err
        return out

    return call


def write_catalogue(folder) -> dict[str, str]:
    """24 small pictures in three colours; returns each item's colour."""
    draw = np.random.default_rng(0)
    colour_of, rows = {}, []
    for index in range(24):
        colour = list(KINDS)[index % 3]
        item = ODD_IDS[index] if index < len(ODD_IDS) else f"item-{index}"
        shade = np.clip(np.array(KINDS[colour]) + draw.integers(-25, 25, (8, 8, 3)), 0, 255)
        Image.fromarray(shade.astype(np.uint8)).save(folder / f"{index}.png")
        rows.append({"item_id": item, "image": f"{index}.png"})
        colour_of[item] = colour
    # A row whose picture is broken stays an item: it is recommended from its interactions alone.
    (folder / "broken.png").write_bytes(b"\x89PNG no more")
    rows.append({"item_id": "broken", "image": "broken.png"})
    colour_of["broken"] = "red"
    pl.DataFrame(rows).write_csv(folder / "items.csv")
    return colour_of


def test_users_of_a_colour_are_given_that_colour(tmp_path, run):
    colour_of = write_catalogue(tmp_path)
    draw = np.random.default_rng(1)
    lines = ["user,item"]
    for user in range(36):
        liked = [item for item, colour in colour_of.items() if colour == list(KINDS)[user % 3]]
        lines += [f"user {user},{item}" for item in draw.choice(liked, 5, replace=False)]
    (tmp_path / "interactions.csv").write_text("\n".join(lines) + "\n")

    told = run(
        "extract",
        "--modality=image",
        "--items",
        tmp_path / "items.csv",
        "--encoder=examples.custom_encoder:ColourHistogram",
        "--out",
        tmp_path / "features",
    )
    assert "ok 24, failed 1" in told
    run(
        "prepare",
        "--interactions",
        tmp_path / "interactions.csv",
        "--features",
        f"image={tmp_path / 'features'}",
        "--out",
        tmp_path / "data",
    )
    run(
        "train",
        "--data",
        tmp_path / "data",
        "--out",
        tmp_path / "run",
        "optimiser.epochs=10",
        "optimiser.batch_users=16",
        "backbone.embedding_dim=16",
    )
    run("evaluate", "--model", tmp_path / "run", "--json", tmp_path / "val.json")
    measured = json.loads((tmp_path / "val.json").read_text())
    assert measured["metrics"]["recall@10"] > measured["popularity"]["recall@10"]
    assert measured["metrics"].keys() == measured["popularity"].keys()
    assert measured["protocol"]["test_reads"] == 0

    run("recommend", "--model", tmp_path / "run", "--top-k=3", "--out", tmp_path / "recs.csv")
    lists = pl.read_csv(tmp_path / "recs.csv", infer_schema=False)
    assert set(lists["item_id"]) <= set(colour_of)
    right = [
        colour_of[row["item_id"]] == list(KINDS)[int(row["user_id"].split()[1]) % 3]
        for row in lists.iter_rows(named=True)
    ]
    assert len(right) > 90
    assert np.mean(right) > 0.9

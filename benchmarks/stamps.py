"""Do the packaged encoders see what stamps show? Leave-one-out 5-NN accuracy of their top folders.

    python benchmarks/stamps.py --folder stamps --json stamps.json

On the Tux Paint stamps that have a picture, words and French speech (767; fetched by apt, 161 MB),
and on those of them with a sound effect. Cosine after the mean is removed, five nearest other
items, majority vote, of equally frequent labels the nearest's. Beside each encoder stand the share
of the largest folder and the same architecture with random weights, seed 0:

- image: timm's tf_efficientnet_lite0;
- text: the package's own configuration and tokenizer through transformers, mean over tokens;
- audio: Whisper tiny.en's sizes, windows of 5 s as the packaged encoder has them.

On the right the same over items of distinct content: several stamps share their words and speech.
Each row is a run of ``extract.run`` into a store in --folder; started again, finished parts are
kept. Exits with 1 unless image and text are each at least twice the majority and .2 above random.
"""

import argparse
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl

# The examples, which hold how the stamps are fetched, belong to the repository, not to the install.
sys.path.insert(0, str(Path(__file__).parents[1]))

import extract
from examples.quickstart import stamps
from extract.encoders.packaged import verified_folder
from extract.encoders.uri import parse_uri
from extract.errors import InputError
from extract.files import require_writable, write_json
from extract.inspect.accuracy import majority, vote
from extract.inspect.duplicates import content_codes
from extract.inspect.neighbours import nearest
from extract.inspect.vectors import Vectors, ok_items
from extract.tables import write_table

K = 5
WINDOW_SECONDS = 5

# Row of the table: the modality, the column of items.csv, the packaged encoder.
ROWS = {
    "image": ("image", "image", "packaged:efficientnet-lite0"),
    "text": ("text", "text", "packaged:minilm"),
    "speech": ("audio", "speech", "packaged:whisper-tiny-en"),
    "effects": ("audio", "effect", "packaged:whisper-tiny-en"),
}


@dataclass(frozen=True)
class Row:
    """One encoder on one medium."""

    media: str
    encoder: str
    control: str
    items: int
    failed: int
    accuracy: float
    majority: float
    random_weights: float
    distinct_items: int
    distinct_accuracy: float
    distinct_random_weights: float

    @property
    def reached(self) -> bool:
        """At least twice the majority, and .2 above random weights."""
        return self.accuracy >= 2 * self.majority and self.accuracy >= self.random_weights + 0.2


def item_table(folder: Path) -> Path:
    """Fetch the stamps and write items.csv of those with picture, words and French speech."""
    media = stamps.fetch(folder / "media")
    records = []
    for record in stamps.catalogue(media, folder):
        picture = folder / str(record["image"])
        speech = picture.with_name(f"{picture.stem}_desc_fr.ogg")
        if not speech.is_file():
            continue
        sounds = [picture.with_suffix(suffix) for suffix in (".ogg", ".wav")]
        effect = next((sound for sound in sounds if sound.is_file()), None)
        records.append(
            {
                "item_id": record["item_id"],
                "folder": str(record["item_id"]).split("/")[0],
                "image": record["image"],
                "text": record["text"],
                "speech": speech.relative_to(folder).as_posix(),
                "effect": effect.relative_to(folder).as_posix() if effect else None,
            }
        )
    path = folder / "items.csv"
    write_table(pl.DataFrame(records, infer_schema_length=None), path)
    return path


def random_whisper(folder: Path) -> str:
    """Save the configuration of Whisper tiny.en, 5 s long; the URI of its random weights."""
    from transformers import WhisperConfig, WhisperFeatureExtractor

    if not (folder / "preprocessor_config.json").is_file():
        WhisperConfig(
            vocab_size=51_864,
            d_model=384,
            encoder_layers=4,
            encoder_attention_heads=6,
            encoder_ffn_dim=1536,
            decoder_layers=4,
            decoder_attention_heads=6,
            decoder_ffn_dim=1536,
            # A position stands for 20 ms.
            max_source_positions=50 * WINDOW_SECONDS,
        ).save_pretrained(folder)
        WhisperFeatureExtractor(feature_size=80, chunk_length=WINDOW_SECONDS).save_pretrained(
            folder
        )
    return f"hf:{folder}?weights=random"


def control_of(modality: str, folder: Path) -> str:
    """The URI of the packaged encoder's architecture with random weights."""
    if modality == "image":
        return "timm:tf_efficientnet_lite0?weights=random"
    if modality == "text":
        return f"hf:{verified_folder(parse_uri('packaged:minilm'))}?weights=random"
    return random_whisper(folder / "whisper-tiny-en-random")


@dataclass(frozen=True)
class Measured:
    """One encoder on one medium."""

    items: int
    failed: int
    accuracy: float
    majority: float
    distinct_items: int
    distinct_accuracy: float


def measure(encoder: str, media: str, items: Path, labels: dict[str, str]) -> Measured:
    """Extract, or go on with it, and foretell every item's folder."""
    modality, column, packaged = ROWS[media]
    kind = "packaged" if encoder == packaged else "random"
    summary = extract.run(
        extract.ExtractionConfig(
            items=items,
            modality=modality,
            out=items.parent / "features" / f"{media}-{kind}",
            encoder=encoder,
            column=column,
            # A kill costs a few seconds' work.
            rows_per_part=128,
        ),
        progress=sys.stderr.isatty(),
    )
    print(summary, file=sys.stderr)
    store = extract.FeatureStore.open(summary.path)
    every = ok_items(store)
    rows = np.flatnonzero(every.numbers >= 0)
    names = store.ids()
    known = [labels[names[row]] for row in rows]
    # Of items with the same content one is kept: a copy foretells its original's folder for free.
    _, first = np.unique(content_codes(store)[rows], return_index=True)
    distinct = np.full(len(every.numbers), -1)
    distinct[rows[np.sort(first)]] = np.arange(len(first))
    kept = [known[number] for number in np.sort(first)]
    return Measured(
        items=len(known),
        failed=summary.failed,
        accuracy=leave_one_out(every, known),
        majority=majority(known)[1],
        distinct_items=len(kept),
        distinct_accuracy=leave_one_out(Vectors(store, distinct), kept),
    )


def leave_one_out(vectors: Vectors, labels: list[str]) -> float:
    """The share of items whose label the K nearest others foretell."""
    found = nearest(vectors, np.arange(len(labels)), K)
    return float(np.mean(np.array(vote(found, labels)) == np.array(labels)))


def main() -> None:
    """Print the table; exit with 1 where image or text falls short."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("stamps"), help="of media and stores, which are kept"
    )
    parser.add_argument("--json", type=Path, help="write the figures here too")
    given = parser.parse_args()
    if given.json is not None:
        require_writable(given.json)
    folder = given.folder.resolve()
    items = item_table(folder)
    table = pl.read_csv(items, infer_schema=False)
    labels = dict(table.select("item_id", "folder").iter_rows())
    print(
        f"{table.height} stamps with picture, words and French speech;"
        f" {len(set(labels.values()))} top folders"
    )
    print(
        f"{'':8}  {'items':>5}  {'5-NN':>5}  {'majority':>8}  {'random':>6}"
        f"  | {'distinct':>8}  {'5-NN':>5}  {'random':>6}  encoder"
    )
    rows = []
    for media, (modality, _, encoder) in ROWS.items():
        control = control_of(modality, folder)
        packaged = measure(encoder, media, items, labels)
        random = measure(control, media, items, labels)
        row = Row(
            media,
            encoder,
            control,
            packaged.items,
            packaged.failed,
            packaged.accuracy,
            packaged.majority,
            random.accuracy,
            packaged.distinct_items,
            packaged.distinct_accuracy,
            random.distinct_accuracy,
        )
        rows.append(row)
        print(
            f"{media:8}  {row.items:>5}  {row.accuracy:>5.3f}  {row.majority:>8.3f}"
            f"  {row.random_weights:>6.3f}  | {row.distinct_items:>8}"
            f"  {row.distinct_accuracy:>5.3f}  {row.distinct_random_weights:>6.3f}  {encoder}",
            flush=True,
        )
    reached = all(row.reached for row in rows if row.media in ("image", "text"))
    print(
        "image and text are each at least twice the majority and .2 above random weights: "
        + ("yes" if reached else "NO")
    )
    if given.json is not None:
        results = [asdict(row) | {"reached": row.reached} for row in rows]
        write_json(given.json, {"k": K, "reached": reached, "results": results})
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    try:
        main()
    except (InputError, stamps.StampsError) as error:
        sys.exit(f"error: {error}")

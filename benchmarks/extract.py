"""How fast extraction is, beside what decoding and encoding cost alone.

    python benchmarks/extract.py --encoder packaged:minilm --encoder timm:resnet50 --json rates.json

For each encoder and each of its media: t_decode (reading, decoding and preprocessing alone) and
t_encode (the encoder alone, on the batches that the pipeline makes), in seconds an item, both on
all cores; the ideal 1 / (t_decode + t_encode); the rate of a whole extraction, loading the encoder
left out; and the ratio of the two. Texts also in the order in which they come. Each is a median of
--rounds, in which they take turns. Exits with 1 where a bar is missed (--no-bars: never).

Media: the Tux Paint stamps' pictures and French speech (fetched by apt), 200 photographs of 12
megapixels and 5,000 texts (made here); or DIR/TABLE, an item table of one's own.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

# Python looks for modules beside this file first, where `extract` would be this file itself.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from benchmarks.extract_media import MEDIA, Media
from benchmarks.extract_rates import Measurement
from extract.device import resolve_device
from extract.encoders.base import Modality
from extract.encoders.registry import encoder_modalities, load_encoder
from extract.errors import InputError

# What was set before the first measurement.
LEAST_RATIO = 0.95
LEAST_SORTED_OVER_UNSORTED = 1.5


def bars_missed(result: dict[str, Any]) -> list[str]:
    """What a result falls short of, in words."""
    bars = [("ratio", LEAST_RATIO), ("sorted_over_unsorted", LEAST_SORTED_OVER_UNSORTED)]
    return [
        f"{result['encoder']} on {result['media']}: {name} {result[name]:.3f}, below {least}"
        for name, least in bars
        if name in result and result[name] < least
    ]


def lines(result: dict[str, Any]) -> list[str]:
    """A result for people."""
    found = [
        f"{result['encoder']} on {result['items']} {result['media']} ({result['modality']})",
        f"  t_decode {1e3 * result['t_decode']:.3f} ms, t_encode {1e3 * result['t_encode']:.3f} ms;"
        f" ideal {result['ideal_items_per_s']:.1f} items/s",
        f"  pipeline {result['pipeline_items_per_s']:.1f} items/s, ratio {result['ratio']:.3f}"
        f" (of CPU seconds {result['cpu_ratio']:.3f})",
    ]
    if "sorted_over_unsorted" in result:
        found.append(
            f"  unsorted {result['unsorted_items_per_s']:.1f} items/s: sorting makes it"
            f" {result['sorted_over_unsorted']:.2f} times as fast"
        )
    return found


def plan(uris: Sequence[str], media: Sequence[str]) -> list[tuple[str, str, Modality]]:
    """Which encoder goes through which media: all named, or all ours, of its modalities.

    Raises:
        InputError: no such encoder, or a named medium that none of the encoders takes.
    """
    pairs: list[tuple[str, str, Modality]] = []
    for uri in uris:
        for modality in encoder_modalities(uri):
            if not media:
                pairs += [(uri, name, modality) for name, of in MEDIA.items() if of[0] == modality]
            # A table has columns of any modalities.
            pairs += [
                (uri, name, modality)
                for name in media
                if name not in MEDIA or MEDIA[name][0] == modality
            ]
    for name in media:
        if not any(name == medium for _, medium, _ in pairs):
            raise InputError(f"--media {name}: none of the encoders takes {MEDIA[name][0]}")
    return pairs


def make(name: str, modality: Modality, folder: Path, count: int | None) -> Media:
    """Media by name, or a person's own table."""
    if name in MEDIA:
        return MEDIA[name][1](folder, count)
    return Media(name, modality, Path(name))


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", action="append", required=True, help="a URI; repeatable")
    parser.add_argument(
        "--media", nargs="+", default=[], help=f"{', '.join(MEDIA)} or a table; default: all"
    )
    parser.add_argument("--folder", type=Path, help="where media are kept; default: not kept")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--limit", type=int, help="the first so many of each of our media")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, help="default: the number of processors")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument(
        "--bars", action=argparse.BooleanOptionalAction, default=True, help="exit 1 below them"
    )
    given = parser.parse_args()
    try:
        missed = measure_all(given)
    except InputError as error:
        sys.exit(f"error: {error}")
    print(*missed, sep="\n")
    sys.exit(1 if missed and given.bars else 0)


def measure_all(given: argparse.Namespace) -> list[str]:
    """Measure every pair, print and write the results; the bars that were missed."""
    pairs = plan(given.encoder, given.media)
    options = {key: getattr(given, key) for key in ("batch_size", "workers", "device", "dtype")}
    about = {"cores": os.cpu_count(), "threads": torch.get_num_threads(), **options}
    print(", ".join(f"{key} {value}" for key, value in about.items()), flush=True)
    results: list[dict[str, Any]] = []
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="extract-")))
        folder: Path = given.folder or scratch / "media"
        folder.mkdir(parents=True, exist_ok=True)
        for uri, name, modality in pairs:
            media = make(name, modality, folder.resolve(), given.limit)
            encoder = load_encoder(
                uri,
                modality,
                device=resolve_device(given.device),
                dtype=getattr(torch, given.dtype),
            )
            measurement = Measurement(media, uri, encoder, scratch, **options)
            load = os.getloadavg()[0]
            times = measurement.measure(
                given.rounds,
                unsorted=modality == "text",
                tell=lambda line: print(f"  {line}", file=sys.stderr, flush=True),
            )
            result = {
                "encoder": uri,
                "media": media.name,
                "modality": modality,
                **times.result(measurement.items),
                "load": [load, os.getloadavg()[0]],
            }
            results.append(result)
            print(
                *lines(result),
                f"  load {load:.1f} before, {result['load'][1]:.1f} after",
                sep="\n",
                flush=True,
            )
    if given.json:
        given.json.write_text(json.dumps({**about, "results": results}, indent=2) + "\n")
    return [line for result in results for line in bars_missed(result)]


if __name__ == "__main__":
    main()

"""What training costs: at a size of one's own, or beside the published way of doing it.

    python benchmarks/train.py --users 1000000 --items 200000 --interactions 10000000
    python benchmarks/train.py --against-official --data data/tiktok

The first makes power-law data sets of four sizes, each twice the one before and the last as given:
s/step under `propagation: sampled`, s/refresh and s/evaluation (extrapolated from a share of the
users), the epoch (extrapolated), peak memory, and the exponents of memory and of s/step in
interactions. The second times `paper` against `official` - seconds a step and an evaluation, peak
memory - and exits with 1 where a ratio falls short of what was set.
"""

import argparse
import sys
from pathlib import Path

# Python looks for modules beside this file first, where `extract` would be a benchmark.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import against_official
import scale


def main() -> None:
    """Parse and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    size = parser.add_argument_group("a size of one's own")
    size.add_argument("--users", type=int, help="of the largest size")
    size.add_argument("--items", type=int)
    size.add_argument("--interactions", type=int)
    size.add_argument("--modalities", type=int, default=2)
    size.add_argument("--dim", type=int, default=128, help="numbers in a raw embedding")
    size.add_argument(
        "--refresh-share", type=float, default=0.01, help="of the users, in refresh and evaluation"
    )
    size.add_argument("--sizes", type=int, default=4, help="1: the size given alone")
    size.add_argument("--seed", type=int, default=0)
    size.add_argument("--config", type=Path, help="default: the shipped tiktok_sampled.yaml")
    size.add_argument("settings", nargs="*", help="key.sub=value over the configuration")
    beside = parser.add_argument_group("beside the published way")
    beside.add_argument("--against-official", action="store_true")
    beside.add_argument("--data", type=Path, help="a prepared dataset")
    beside.add_argument("--threads", type=int, help="of each variant; default: torch's")
    given = parser.parse_intermixed_args()
    if given.against_official:
        if given.data is None:
            parser.error("--against-official needs --data, a prepared dataset")
        reached = against_official.compare(given.data, given.steps, given.threads, given.json)
        sys.exit(0 if reached else 1)
    if None in (given.users, given.items, given.interactions):
        parser.error("name --users, --items and --interactions, or --against-official")
    scale.measure_sizes(
        scale.Size(given.users, given.items, given.interactions, given.modalities, given.dim),
        given.sizes,
        config=given.config,
        settings=[*given.settings, f"seed={given.seed}"],
        steps=given.steps,
        share=given.refresh_share,
        json_file=given.json,
    )


if __name__ == "__main__":
    main()

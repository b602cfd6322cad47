"""What training costs.

    python benchmarks/train.py --users 1000000 --items 200000 --interactions 10000000

On power-law data sets of four sizes, each twice the one before and the last as given: s/step under
`propagation: sampled`, s/refresh and s/evaluation (extrapolated from a share of the users), the
epoch (extrapolated), peak memory, and the exponents of memory and of s/step in interactions.
"""

import argparse
from pathlib import Path

import scale


def main() -> None:
    """Parse and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, required=True, help="of the largest size")
    parser.add_argument("--items", type=int, required=True)
    parser.add_argument("--interactions", type=int, required=True)
    parser.add_argument("--modalities", type=int, default=2)
    parser.add_argument("--dim", type=int, default=128, help="numbers in a raw embedding")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument(
        "--refresh-share", type=float, default=0.01, help="of the users, in refresh and evaluation"
    )
    parser.add_argument("--sizes", type=int, default=4, help="1: the size given alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--config", type=Path, help="default: the shipped tiktok_sampled.yaml")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("settings", nargs="*", help="key.sub=value over the configuration")
    given = parser.parse_intermixed_args()
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

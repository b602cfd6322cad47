"""What training costs.

    python benchmarks/train.py --against-official --data data/tiktok

Times ``paper`` against the published way of doing it (``official``): seconds a step and an
evaluation, peak memory. Exits with 1 where a ratio falls short of what was set.
"""

import argparse
import sys
from pathlib import Path

import against_official


def main() -> None:
    """Parse and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against-official", action="store_true", required=True)
    parser.add_argument("--data", type=Path, required=True, help="a prepared dataset")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, help="of each variant; default: torch's")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    given = parser.parse_args()
    reached = against_official.compare(given.data, given.steps, given.threads, given.json)
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    main()

#!/usr/bin/env bash
# Builds a wheel, installs it in a clean environment outside the clone, and there takes a drawn sample
# from media to recommendations with the shipped quickstart preset. Nothing of the clone is on the path.
# Usage: examples/wheel_check.sh PYTHON   (an interpreter that runs this clone, to draw the sample)
set -euo pipefail
python=$(realpath --no-symlinks "${1:?usage: wheel_check.sh PYTHON}")
clone=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH PYTHONHOME

cd "$clone"
# A copy, so that no build/ folder is left here and none that is here gets into the wheel.
git archive --format=tar HEAD | tar -x --one-top-level="$scratch/source"
"$python" -m pip wheel --quiet --no-deps --wheel-dir "$scratch" "$scratch/source"
"$python" -c 'import sys; from pathlib import Path
from examples.quickstart.sample import Request, make_sample
print(make_sample(Path(sys.argv[1]), Request("drawn")))' "$scratch/work/project"

"$python" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install --quiet -c constraints.txt "$(ls "$scratch"/*.whl)[packaged]"

cd "$scratch/work"
mmssl=$scratch/venv/bin/mmssl
"$scratch/venv/bin/python" -c 'import sys, cli, configs, extract, mmssl
for module in (cli, configs, extract, mmssl):
    assert module.__file__.startswith(sys.prefix), module.__file__'
for modality in image text audio; do
    "$mmssl" extract --modality "$modality" --project project
done
"$mmssl" prepare --interactions project/simulated_interactions.csv --items project/items.csv \
    --features image=project/features/image --features text=project/features/text \
    --features audio=project/features/audio --out project/data
"$mmssl" train --project project --out project/runs/wheel
"$mmssl" evaluate --model project/runs/wheel --split val --json validation.json
"$mmssl" recommend --model project/runs/wheel --users user-0001 --out recommendations.csv
"$scratch/venv/bin/python" -c 'import json
measured = json.load(open("validation.json"))
ours, popularity = (measured[kind]["recall@20"] for kind in ("metrics", "popularity"))
assert ours > popularity, (ours, popularity)
assert len(open("recommendations.csv").readlines()) == 21
print(f"wheel check passed: validation Recall@20 {ours:.4f}, popularity {popularity:.4f}")'

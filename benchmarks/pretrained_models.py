"""Force errors of pretrained models on the validation frames of the dataset that comes with ilforge, no label used.

``python benchmarks/pretrained_models.py`` takes every fourth of the 89 frames; ``--every 1`` takes all. Each model
needs its environment: ``ilforge env create sevennet``, ``ilforge env create chgnet``.
"""

from __future__ import annotations

import argparse
import time

import ilforge
from ilforge.api import validate

MODELS = {
    "7net-0": {"kind": "sevennet", "model": "7net-0"},
    "7net-0 without D3": {"kind": "sevennet", "model": "7net-0", "dispersion": "none"},
    "7net-l3i5": {"kind": "sevennet", "model": "7net-l3i5"},
    "7net-mf-0 PBE": {"kind": "sevennet", "model": "7net-mf-0", "modality": "PBE"},
    "7net-mf-0 R2SCAN": {"kind": "sevennet", "model": "7net-mf-0", "modality": "R2SCAN"},
    "chgnet 0.3.0": {"kind": "chgnet"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=4, help="take every so many frames")
    parser.add_argument("models", nargs="*", default=list(MODELS), help=f"of {', '.join(MODELS)}")
    chosen = parser.parse_args()
    frames = ilforge.Dataset.open("pyr14bf4-pbe-d3").frames("validation")[:: chosen.every]
    print(f"{len(frames)} frames; force RMSE in eV/Å")
    print("| model | EQ | nEQ | s a frame |\n|---|---|---|---|")
    for name in chosen.models:
        started = time.perf_counter()
        found = validate(MODELS[name], frames)
        seconds = (time.perf_counter() - started) / len(frames)
        of = {where: each for what, species, where, each in found if what == "force_rmse" and species is None}
        row = " | ".join(f"{of[kind].value:.3f} ± {of[kind].error:.3f}" for kind in ("EQ", "nEQ"))
        print(f"| {name} | {row} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()

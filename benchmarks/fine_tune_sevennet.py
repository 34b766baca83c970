"""Fine-tune SevenNet-0 on a few shipped labels: errors before and after, and processor time for a frame.

python benchmarks/fine_tune_sevennet.py --train 8 --stop 4 --epochs 3 --validate 4
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from pathlib import Path

import ilforge
from ilforge.files import file_digest
from ilforge.labelling.datasets.dataset import Dataset
from ilforge.training import TRAINERS, curve


def spread(frames, count, first=0):
    """So many of the frames, from beginning to end."""
    return tuple(frames[first :: max(1, len(frames) // count)][:count])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("train", 8), ("stop", 4), ("epochs", 3), ("validate", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    wanted = parser.parse_args()
    labels = Dataset.open("pyr14bf4-pbe-d3")
    training = labels.frames("training")
    dataset = Dataset(train=spread(training, wanted.train), stop=spread(training, wanted.stop, first=3))
    kind = TRAINERS["sevennet"]
    with tempfile.TemporaryDirectory() as folder:
        settings = {"start": "sevennet", "epochs": wanted.epochs}
        model = ilforge.train(dataset, kind.name, settings=settings, directory=Path(folder) / "model")
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(kind.note(model.parent))
        for point in curve.read(model.parent):
            print(f"epoch {point.step}: force RMSE {point.force_rmse_eV_A:.4f} eV/Å on {len(dataset.stop)} frames")
        work = wanted.epochs * (wanted.train + wanted.stop) + wanted.stop
        print(f"{(used.ru_utime + used.ru_stime) / work:.1f} s of processor time for a frame and epoch")
        held = spread(labels.frames("validation"), wanted.validate)
        for name, spec in (("as it is", {"kind": "sevennet"}), ("tuned", kind.spec(model.parent, file_digest(model)))):
            found = ilforge.validate(spec, held)
            rows = [f"{of} {error.value:.4f}" for what, z, of, error in found if what == "force_rmse" and z is None]
            print(f"{name}: force RMSE {', '.join(rows)} eV/Å on {len(held)} validation frames")


if __name__ == "__main__":
    main()

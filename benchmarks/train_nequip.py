"""Train a NequIP or an Allegro on a few shipped labels: errors, and processor time for a frame, an epoch and a step.

python benchmarks/train_nequip.py small allegro --train 16 --stop 4 --epochs 10 --validate 8
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import ilforge
from ilforge.files import file_digest
from ilforge.labelling.datasets.dataset import Dataset
from ilforge.training import TRAINERS, curve

KIND = TRAINERS["nequip"]


def spread(frames, count, first=0):
    """So many of the frames, from beginning to end."""
    return tuple(frames[first :: max(1, len(frames) // count)][:count])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("presets", nargs="+")
    for name, default in (("train", 16), ("stop", 4), ("epochs", 10), ("validate", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    wanted = parser.parse_args()
    labels = Dataset.open("pyr14bf4-pbe-d3")
    training = labels.frames("training")
    dataset = Dataset(train=spread(training, wanted.train), stop=spread(training, wanted.stop, first=3))
    for preset in wanted.presets:
        with tempfile.TemporaryDirectory() as folder:
            measure(preset, dataset, wanted, Path(folder), spread(labels.frames("validation"), wanted.validate))


def measure(preset, dataset, wanted, folder, held) -> None:
    before = processor_time()
    settings = {"preset": preset, "epochs": wanted.epochs}
    model = ilforge.train(dataset, KIND.name, settings=settings, directory=folder / "model")
    used = processor_time() - before
    for point in curve.read(model.parent):
        print(
            f"{preset}, epoch {point.step}: force RMSE {point.force_rmse_eV_A:.4f} eV/Å, energy "
            f"{1000 * point.energy_rmse_eV_atom:.1f} meV/atom on {len(dataset.stop)} frames"
        )
    work = wanted.epochs * (wanted.train + wanted.stop)
    print(f"{preset}: {used / work:.2f} s of processor time for a frame and epoch, start and package included")
    spec = KIND.spec(model.parent, file_digest(model))
    found = ilforge.validate(spec, held)
    rows = [f"{of} {error.value:.4f}" for what, z, of, error in found if what == "force_rmse" and z is None]
    print(f"{preset}: force RMSE {', '.join(rows)} eV/Å on {len(held)} validation frames")
    print(f"{preset}: {seconds_per_frame(spec, held[0]):.3f} s a frame of {len(held[0])} atoms, wall")


def seconds_per_frame(spec, frame, count=10) -> float:
    """Mean wall time of frames after the first three, which are slower."""
    calculator = ilforge.create(spec).calculator()
    for number in range(3 + count):
        if number == 3:
            started = time.monotonic()
        moved = frame.copy()
        moved.rattle(0.001, seed=number)
        calculator.get_forces(moved)
    return (time.monotonic() - started) / count


def processor_time() -> float:
    """Of all processes that this one has started and that have ended, s."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()

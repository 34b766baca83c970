"""Fit a UF3 potential to shipped labels: errors, time of the fit, and time of a step of MD in LAMMPS.

python benchmarks/train_uf3.py quick --train 80 --stop 8 --validate 20 --regularization 1e-7 1e-6 1e-5 1e-4
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

KIND = TRAINERS["uf3"]


def spread(frames, count):
    """So many of the frames, from beginning to end."""
    return tuple(frames[round(number * len(frames) / count)] for number in range(count))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("presets", nargs="+")
    for name, default in (("train", 200), ("stop", 21), ("validate", 89), ("frames", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--regularization", type=float, nargs="+")
    parser.add_argument("--folder", type=Path)
    wanted = parser.parse_args()
    labels = Dataset.open("pyr14bf4-pbe-d3")
    training = labels.frames("training")
    stop = spread(training, wanted.stop)
    others = [frame for frame in training if not any(frame is one for one in stop)]
    dataset = Dataset(train=spread(others, wanted.train), stop=stop)
    held = spread(labels.frames("validation"), wanted.validate)
    for preset in wanted.presets:
        with tempfile.TemporaryDirectory() as folder:
            measure(preset, dataset, wanted, (wanted.folder or Path(folder)) / preset, held)


def measure(preset, dataset, wanted, folder, held) -> None:
    before = processor_time()
    settings = {"preset": preset} | ({"regularization": wanted.regularization} if wanted.regularization else {})
    model = ilforge.train(dataset, KIND.name, settings=settings, directory=folder)
    used = processor_time() - before
    print(
        f"{preset}: {used:.0f} s of processor time for {len(dataset.train)} and {len(dataset.stop)} frames", flush=True
    )
    for point in curve.read(model.parent):
        print(
            f"{preset}, fit {point.step}: force RMSE {point.force_rmse_eV_A:.4f} eV/Å, energy "
            f"{1000 * point.energy_rmse_eV_atom:.1f} meV/atom on {len(dataset.stop)} frames",
            flush=True,
        )
    spec = KIND.spec(model.parent, file_digest(model))
    found = ilforge.validate(spec, held)
    rows = [f"{of} {error.value:.4f}" for what, z, of, error in found if what == "force_rmse" and z is None]
    print(f"{preset}: force RMSE {', '.join(rows)} eV/Å on {len(held)} validation frames", flush=True)
    print(f"{preset}: {seconds_per_frame(spec, held[0], wanted.frames):.3f} s a frame of {len(held[0])} atoms, wall")


def seconds_per_frame(spec, frame, count) -> float:
    """Mean wall time of frames after the first, which loads the model."""
    calculator, moving = ilforge.create(spec).calculator(), frame.copy()
    moving.calc = calculator
    moving.get_forces()
    started = time.perf_counter()
    for seed in range(count):
        moving.rattle(0.01, seed=seed)
        moving.get_forces()
    return (time.perf_counter() - started) / count


def processor_time() -> float:
    """Of ended child processes, s."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()

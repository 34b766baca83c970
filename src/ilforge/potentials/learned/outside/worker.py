"""A separate program that reads frames and answers with the energies and forces of a model, in lines of JSON.

The Python interpreter of the environment with the packages of the model runs it; it imports nothing of ilforge. The
first line it reads describes the model: ``loader`` is a Python file with a function ``load(settings)`` that returns an
ASE calculator and the elements that it knows; ``path`` is a model file, or ``package`` and ``file`` give a file in an
installed package; ``sha256`` is the digest of this file. All other keys are for the loader. Each further line is a
frame.

``worker.py prove SETTINGS`` computes one water molecule instead, to see that the environment works.
"""

import contextlib
import hashlib
import importlib.util
import json
import os
import sys
import tempfile
import traceback
from typing import Any, TextIO

PROOF = {  # water, Å
    "numbers": [8, 1, 1],
    "positions": [[5.0, 5.0, 5.12], [5.0, 5.763, 4.523], [5.0, 4.237, 4.523]],
    "cell": [[10.0, 0.0, 0.0], [0.0, 10.0, 0.0], [0.0, 0.0, 10.0]],
    "pbc": [True, True, True],
    "charge": 0.0,
}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # output of packages goes to the log, so that it cannot mix with the answers
    settings = json.loads(sys.stdin.readline())
    with tempfile.TemporaryDirectory(prefix="ilforge-model-") as folder:
        try:
            model = Model(settings, folder)
        except Exception as error:
            say(answers, failure(error))
            return
        say(answers, {"elements": model.elements})
        for line in sys.stdin:
            try:
                answer = model.answer(json.loads(line))
            except Exception as error:
                answer = failure(error)
            say(answers, answer)


class Model:
    """A loaded model."""

    def __init__(self, settings: dict[str, Any], folder: str) -> None:
        limit_threads(settings.get("threads", 1))
        settings = {**settings, "device": device_of(settings.get("device", "cpu"))}
        if "package" in settings:
            settings["path"] = of_package(settings["package"], settings["file"], settings["sha256"])
        elif "path" in settings:
            settings["path"] = verified_copy(settings["path"], settings["sha256"], folder)
        spec = importlib.util.spec_from_file_location("loader", settings["loader"])
        assert spec is not None and spec.loader is not None
        loader = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loader)
        self.calculator, elements = loader.load(settings)
        self.elements = list(elements)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Energy in eV, forces in eV/Å and, in a box, the stress in eV/Å^3 (Voigt, tension positive) of a frame."""
        from ase import Atoms
        from ase.calculators.calculator import all_changes

        atoms = Atoms(request["numbers"], request["positions"], cell=request["cell"], pbc=request["pbc"])
        atoms.info["charge"] = request["charge"]
        wanted = ["energy", "forces", "stress"] if all(request["pbc"]) else ["energy", "forces"]
        self.calculator.calculate(atoms, wanted, all_changes)
        results = self.calculator.results
        answer = {"energy": energy_of(results), "forces": numbers(results["forces"])}
        if "stress" in wanted:
            answer["stress"] = voigt(numbers(results["stress"]))
        return answer


def energy_of(results: dict[str, Any]) -> float:
    """The energy: if the model gives energies of atoms, their sum in double precision."""
    atoms = results.get("energies")
    if atoms is None:
        return float(results["energy"])
    return sum(float(energy) for energy in atoms)


def numbers(array: Any) -> Any:
    """Nested lists of Python's floats."""
    import numpy as np

    return np.asarray(array, dtype=float).tolist()


def voigt(stress: Any) -> Any:
    """xx, yy, zz, yz, xz, xy of a stress that may be a matrix."""
    if len(stress) == 6:
        return stress
    return [stress[row][column] for row, column in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))]


def limit_threads(count: int) -> None:
    """Set the number of threads of PyTorch, if it is installed."""
    with contextlib.suppress(ImportError):
        import torch

        torch.set_num_threads(count)


def device_of(wanted: str) -> str:
    """The device as PyTorch calls it."""
    if wanted == "cpu":
        return wanted
    import torch

    if torch.cuda.is_available():
        return "cuda" if wanted == "auto" else wanted
    if wanted == "auto":
        return "cpu"
    raise NoDevice(f"torch.cuda.is_available() is False: PyTorch {torch.__version__} of this environment finds no GPU")


class NoDevice(Exception):
    """A GPU was requested, but none was found."""


class OtherFile(Exception):
    """A model file does not have the expected digest."""


def verified_copy(path: str, sha256: str, folder: str) -> str:
    """A copy of a model file that nobody else can change, if it is what the digest says."""
    with open(path, "rb") as file:
        content = file.read()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256.lower():
        raise OtherFile(f"{path} has the digest {found}, and not {sha256}")
    copy = os.path.join(folder, os.path.basename(path))
    with open(copy, "wb") as file:
        file.write(content)
    return copy


def of_package(package: str, file: str, sha256: str) -> str:
    """Path of the weights in an installed package; some packages would download weights that they do not find."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ImportError(f"the package {package} is not installed")
    path = os.path.join(os.path.dirname(spec.origin), file)
    if not os.path.isfile(path):
        raise ImportError(f"the installed {package} has no {file}")
    with open(path, "rb") as weights:
        found = hashlib.sha256(weights.read()).hexdigest()
    if found != sha256:
        raise ImportError(f"{path} has the digest {found}, and not {sha256}")
    return path


def failure(error: Exception) -> dict[str, Any]:
    """An error as an answer: its message and its cause."""
    traceback.print_exc(file=sys.stderr)
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"[:600]
    return {"error": text, "of": owner(error, text.lower())}


def owner(error: Exception, text: str) -> str:
    """The cause of an error: memory, environment, device, model file, or this single frame."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & {"MemoryError", "OutOfMemoryError"} or "out of memory" in text or "can't allocate memory" in text:
        return "memory"
    if isinstance(error, ImportError):
        return "environment"
    if isinstance(error, NoDevice):
        return "device"
    if isinstance(error, OtherFile):
        return "file"
    return "frame"


def prove(settings: dict[str, Any]) -> None:
    """Compute one molecule and print its energy; an exception where something is wrong."""
    import math

    with tempfile.TemporaryDirectory(prefix="ilforge-model-") as folder:
        answer = Model(settings, folder).answer(PROOF)
    largest = max(abs(component) for force in answer["forces"] for component in force)
    if not (math.isfinite(answer["energy"]) and 0.0 < largest < 10.0):
        raise ValueError(f"a water molecule has {answer['energy']} eV and forces up to {largest} eV/Å")
    print(f"a water molecule has {answer['energy']:.3f} eV, forces up to {largest:.3f} eV/Å")


def say(answers: TextIO, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


if __name__ == "__main__":
    if sys.argv[1:2] == ["prove"]:
        prove(json.loads(sys.argv[2]))
    else:
        main()

"""A separate program that computes energies and forces with GPAW; input and output are lines of JSON.

It is run by the Python interpreter of GPAW (``gpaw python``), never imported, and imports nothing of ilforge. The first
line contains the settings; each further line is a frame. If the line says that the frame is the next step of a
trajectory in the same box, the calculator is kept and starts from the last wavefunctions.
"""

import gc
import json
import os
import sys
import traceback
from typing import Any, TextIO


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # GPAW's output goes to the log, not to the answers
    from ase import Atoms

    settings = json.loads(sys.stdin.readline())
    say(answers, {"versions": versions()})
    kept: tuple[Any, ...] | None = None
    calculator = None
    for line in sys.stdin:
        request = json.loads(line)
        atoms = Atoms(request["numbers"], request["positions"], cell=request["cell"], pbc=request["pbc"])
        key = (request["numbers"], request["cell"], request["pbc"], request["charge"], request["magnetic"])
        try:
            if key != kept or not request["step"]:
                calculator = None
                gc.collect()  # otherwise 6 MB of a frame with 70 atoms are never freed
                calculator, kept = calculator_for(settings, request), key
            if not all(atoms.pbc):
                raise ValueError("plane waves need a periodic frame")
            atoms.calc = calculator
            answer = {
                "energy": float(atoms.get_potential_energy(force_consistent=True)),
                "forces": atoms.get_forces().tolist(),
            }
            if request["stress"]:
                answer["stress"] = atoms.get_stress().tolist()
            if request["magnetic"]:
                answer["magnetic_moment"] = float(atoms.get_magnetic_moment())
        except Exception as error:
            kept, calculator = None, None
            traceback.print_exc(file=sys.stderr)
            answer = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]}
            answer["setup"] = isinstance(error, (FileNotFoundError, ImportError))
        say(answers, answer)


def calculator_for(settings: dict[str, Any], request: dict[str, Any]) -> Any:
    from gpaw import GPAW, PW, FermiDirac

    smearing = FermiDirac(settings["smearing_eV"])
    # few empty bands, because liquids have closed shells, and an initial guess from a minimal basis: this saves a sixth
    # of the time for 70 atoms and changes forces by less than 0.001 eV/Å
    extra: dict[str, Any] = {"nbands": -8, "basis": "sz(dzp)"}
    if request["magnetic"]:  # the moments of an isolated atom follow Hund's rule
        extra = {"hund": True}
        smearing = FermiDirac(0.0, fixmagmom=True)
    return GPAW(
        mode=PW(settings["cutoff_eV"]),
        xc=settings["functional"],
        occupations=smearing,
        convergence={"energy": settings["energy_tolerance_eV"], "density": settings["density_tolerance"]},
        maxiter=settings["max_iterations"],
        charge=request["charge"],
        kpts=(1, 1, 1),
        symmetry="off",
        txt=None,
        **extra,
    )


def versions() -> dict[str, str]:
    import ase
    import gpaw

    return {"gpaw": gpaw.__version__, "ase": ase.__version__}


def say(answers: TextIO, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()

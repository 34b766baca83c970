"""A program of its own: answers frames with GPAW's energies and forces, one line of JSON each way.

It is run by the Python interpreter that GPAW is installed for (``gpaw python``), never imported, and imports nothing
of ilforge. The first line says how to calculate; each further line is a frame. The calculator lives on where the line
says that the frame is a step on from the last one, in the same box: it then starts from the last one's wavefunctions.
"""

import gc
import json
import os
import sys
import traceback
from typing import Any, TextIO


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what GPAW prints goes to the log, not among the answers
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
                gc.collect()  # or 6 MB of a frame of 70 atoms stay for good
                calculator, kept = calculator_for(settings, request), key
            if not all(atoms.pbc):
                raise ValueError("plane waves need a periodic frame")
            atoms.calc = calculator
            answer = {
                "free_energy": float(atoms.get_potential_energy(force_consistent=True)),
                "forces": atoms.get_forces().tolist(),
                "converged": True,
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
    # A sixth less time for 70 atoms, forces within 0.001 eV/Å: few empty bands, which liquids of closed shells do not
    # fill, and a first guess from a minimal basis.
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

"""One force field has one density at one pressure, whichever engine and barostat find it."""

from __future__ import annotations

import MDAnalysis
import numpy as np
import pytest

from ilforge import programs
from ilforge.dynamics import MdProtocol, run_md
from ilforge.dynamics.export import export
from ilforge.dynamics.lammps.program import executable
from ilforge.dynamics.simulation import Job
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from ilforge.potentials.classical.clp import Clp
from ilforge.properties.shared.density_course import mean_density
from ilforge.units import AMU_PER_A3_IN_G_CM3

LIQUID = Liquid.of({"Na": 32, "Cl": 32})
PROTOCOL = MdProtocol(
    "NPT", 1400.0, 2.0, 60.0, 0.1, pressure_bar=1000.0, equilibration_ps=10.0, minimise_steps=200, seed=5
)
RUNS = (("openmm", {}), ("builtin", {}), ("builtin", {"barostat": "cell-rescaling"}), ("ase", {}))


def density(volumes):
    found = mean_density(LIQUID.mass * AMU_PER_A3_IN_G_CM3 / np.asarray(volumes), PROTOCOL.interval_ps, 10.0)
    assert np.isfinite(found.value) and found.error > 0, found
    return found.value, found.error


def of_lammps(job, folder):
    """The same run by LAMMPS itself, from what ilforge writes for it."""
    export(job, "lammps", folder)
    program, environment = executable()
    command = [program, "-in", "in.lammps", "-log", "none"]
    programs.run(command, folder, log="log", environment={**environment, "LAMMPS_PLUGIN_PATH": ""})
    universe = MDAnalysis.Universe(
        str(folder / "trajectory.lammpsdump"), format="LAMMPSDUMP", topology_format="LAMMPSDUMP"
    )
    return [step.volume for step in universe.trajectory]


@pytest.mark.slow
@pytest.mark.program("packmol")
@pytest.mark.program("lmp")
def test_engines_agree_on_the_density_of_a_molten_salt(tmp_path):
    """Molten sodium chloride by CL&P at 1400 K and 1 kbar: barostats of four engines, within their errors."""
    potential, box = Clp(5.0), pack(LIQUID, 1.3, seed=1)
    found = {}
    found["lammps"] = density(of_lammps(Job(potential, box, LIQUID.topology, PROTOCOL), tmp_path))
    for engine, choices in RUNS:
        protocol = MdProtocol(**{**PROTOCOL.as_dict(), **choices})
        folder = tmp_path / f"{engine}{len(choices)}"
        volumes = run_md(potential, box, LIQUID, protocol, folder, engine=engine).thermo()["volume_A3"]
        found[f"{engine} {choices}"] = density(volumes)
        print(found, flush=True)
    values, errors = np.array(list(found.values())).T
    assert errors.max() < 0.03, found
    together = np.average(values, weights=errors**-2)
    assert np.all(np.abs(values - together) < 3.5 * errors), found

"""One potential has one density at one temperature and pressure, whichever engine and barostat find it."""

from __future__ import annotations

import numpy as np
import pytest

from ilforge.dynamics import MdProtocol, run_md
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from ilforge.properties.shared.density_course import mean_density
from ilforge.units import AMU_PER_A3_IN_G_CM3
from support import soft

LIQUID = Liquid.of({"Li": 50, "Cl": 50})
PROTOCOL = MdProtocol(
    "NPT", 423.0, 2.0, 60.0, 0.1, pressure_bar=10_000.0, equilibration_ps=5.0, seed=5, checkpoint_steps=10**6
)
RUNS = (
    ("openmm", {}),
    ("lammps", {}),
    ("ase", {}),
    ("builtin", {"barostat": "monte-carlo"}),
    ("builtin", {"barostat": "cell-rescaling"}),
)


@pytest.mark.slow
@pytest.mark.program("packmol")
@pytest.mark.program("lmp")
def test_engines_agree_on_the_density_of_a_liquid(tmp_path):
    """Repelling atoms at 423 K and 10,000 bar: five barostats, each within 4.5 errors of the mean of the others."""
    potential, box = soft.SoftAtoms().write_table(tmp_path / "table"), pack(LIQUID, 1.3, seed=1)
    found = {}
    for engine, choices in RUNS:
        protocol = MdProtocol(**{**PROTOCOL.as_dict(), **choices})
        folder = tmp_path / f"{engine}{len(found)}"
        volumes = run_md(potential, box, LIQUID, protocol, folder, engine=engine).thermo()["volume_A3"]
        density = mean_density(LIQUID.mass * AMU_PER_A3_IN_G_CM3 / volumes, PROTOCOL.frame_interval_ps, 20.0)
        assert density.n_eff > 20, (engine, choices, density)  # whether it drifts shows against the others
        found[" ".join([engine, *choices.values()])] = density.value, density.error
        print(found, flush=True)
    values, errors = np.array(list(found.values())).T
    assert np.all(errors < 0.01 * values), found
    for k in range(len(values)):
        others = np.arange(len(values)) != k
        mean = np.average(values[others], weights=errors[others] ** -2)
        error = np.hypot(errors[k], np.sum(errors[others] ** -2) ** -0.5)
        assert abs(values[k] - mean) < 4.5 * error, (k, found)

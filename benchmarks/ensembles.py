"""Ensembles of the builtin engine against exact ones, beside OpenMM's: a table for docs/validation.md.

Run ``PYTHONPATH=tests python benchmarks/ensembles.py [STEPS]``: 48 atoms of a soft liquid (``tests/support/soft.py``),
as molecules (8 Li, 8 BF4) and as atoms (24 Li, 24 Cl), at 423 K and 3,000 bar with steps of 2 fs.

Kinetic energies must have the mean f/2 kT and the variance f/2 (kT)^2. Ratios of two ensembles are known whatever the
liquid: ln(p_2/p_1) of the volume has the slope -(P_2 - P_1)/kT, that of the potential energy at constant volume
1/kT_1 - 1/kT_2 (Shirts, J. Chem. Theory Comput. 2013, 9, 909). Slopes are given as parts of what they must be, errors
are standard errors.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np

from ilforge.dynamics import builtin, openmm
from ilforge.units import BAR, KB
from support import soft

EVERY, SKIP = 50, 5000
PRESSURES_BAR = (2600.0, 3400.0)
TEMPERATURES_K = (380.0, 470.0)

ROWS: list[tuple[str, str, ModuleType, dict[str, Any]]] = [
    ("OpenMM: Langevin, Monte Carlo", "BF4", openmm, {}),
    ("Langevin, Monte Carlo", "BF4", builtin, {}),
    ("Langevin, cell rescaling", "BF4", builtin, {"barostat": "cell-rescaling"}),
    ("OpenMM: Langevin, Monte Carlo", "Cl", openmm, {}),
    ("Langevin, Monte Carlo", "Cl", builtin, {}),
    ("Langevin, cell rescaling", "Cl", builtin, {"barostat": "cell-rescaling"}),
    ("Nosé-Hoover, Monte Carlo", "Cl", builtin, {"thermostat": "nose-hoover"}),
    ("Nosé-Hoover, cell rescaling", "Cl", builtin, {"thermostat": "nose-hoover", "barostat": "cell-rescaling"}),
]


def main() -> int:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
    print(
        "| liquid | moved by | mean volume, Å^3 | its spread | slope with P | slope with T | kinetic mean | variance |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, anion, engine, choices in ROWS:
        print(f"| Li{anion} | {name} | " + " | ".join(row(steps, anion, engine, choices)) + " |", flush=True)
    return 0


def row(steps: int, anion: str, engine: ModuleType, choices: dict[str, Any]) -> list[str]:
    """The numbers of one row, from two runs at constant pressure and two at constant volume."""

    def run(**state: Any) -> dict[str, np.ndarray]:
        return soft.watched(soft.simulation(soft.Soft(), anion, engine, **state), steps, EVERY, SKIP)

    low, high = (run(ensemble="NPT", pressure_bar=bar, **choices)["volume"] for bar in PRESSURES_BAR)
    now = run(ensemble="NPT", pressure_bar=3000.0, **choices)
    thermostat = {key: value for key, value in choices.items() if key == "thermostat"}
    cold, hot = (run(ensemble="NVT", temperature_K=kelvin, **thermostat)["potential"] for kelvin in TEMPERATURES_K)
    thermal, half = KB * 423.0, (3 * 48 - 3) / 2
    with_pressure = -(PRESSURES_BAR[1] - PRESSURES_BAR[0]) * BAR / thermal
    with_temperature = 1 / (KB * TEMPERATURES_K[0]) - 1 / (KB * TEMPERATURES_K[1])
    kinetic = now["kinetic"]
    independent = len(kinetic) / soft.inefficiency(kinetic)
    return [
        "{:.1f} ± {:.1f}".format(*soft.mean(now["volume"])),
        f"{now['volume'].std():.0f}",
        _share(soft.slope_of_log_ratio(low, high), with_pressure),
        _share(soft.slope_of_log_ratio(cold, hot), with_temperature),
        _share(soft.mean(kinetic), half * thermal, digits=4),
        _share((kinetic.var(), kinetic.var() * np.sqrt(2 / independent)), half * thermal**2),
    ]


def _share(found: tuple[float, float], expected: float, digits: int = 3) -> str:
    return f"{found[0] / expected:.{digits}f} ± {abs(found[1] / expected):.{digits}f}"


if __name__ == "__main__":
    raise SystemExit(main())

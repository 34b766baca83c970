"""Parameter files of the exp-6 force field for tests: the demonstration, and changes of it."""

from __future__ import annotations

from pathlib import Path

DEMONSTRATION = Path(__file__).parents[2] / "examples/exp6/demonstration.toml"
SPEC = {"kind": "exp6", "parameters": str(DEMONSTRATION), "cutoff_A": 4.0}

RICHER = {
    'damped = "dipoles"': 'damped = "dipoles and charges"',
    "thole_a = 0.2": "thole_a = 0.39",
    "tolerance = 1e-3": "tolerance = 1e-12",
    "exp6 = [0.0, 0.0, 1.0]": "exp6 = [0.0, 0.0, 0.5]",
    "charge_charge = [0.0, 0.0, 1.0]": "charge_charge = [0.0, 0.0, 0.7]",
    "dipole_dipole = [0.0, 0.0, 1.0]": "dipole_dipole = [0.5, 0.6, 0.9]",
    "\n[ions.BF4]": """lone_pairs = [
    { on = "C1", neighbours = ["H1", "H2"], along_A = 0.15, across_A = 0.30, charge_e = -0.06 },
    { on = "C1", neighbours = ["H1", "H2"], along_A = 0.15, across_A = -0.30, charge_e = 0.04 },
    { on = "N1", neighbours = ["C1", "C2", "C5"], along_A = 0.25, charge_e = 0.02 },
]

[ions.BF4]""",
}
"""Every kind of lone pair, and weights that are neither 0 nor 1."""

TIGHT = {"tolerance = 1e-3": "tolerance = 1e-12"}


def changed(directory: Path, changes: dict[str, str]) -> Path:
    """The demonstration with some of its text replaced."""
    text = DEMONSTRATION.read_text("utf-8")
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new, 1)
    path = directory / "parameters.toml"
    path.write_text(text, "utf-8")
    return path

"""Ready-to-run files that use a trained DeePMD model without a study; they are written beside the model."""

SNIPPETS = {
    "run_ase.py": """\
import ase.io, deepmd.calculator
atoms = ase.io.read("frame.xyz")
atoms.calc = deepmd.calculator.DP(model="{file}")
print(atoms.get_potential_energy(), "eV")
""",
    "in.lammps": """\
units metal
read_data frame.data
pair_style deepmd {file}
pair_coeff * * {elements}
run 0
""",
}
"""By file name. Words in braces: ``file``, ``sha256``, ``elements``, ``dtype`` and ``temperature_K``."""

"""How a trained DeePMD model is used without a study: files that are handed over with it, and run as they are."""

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

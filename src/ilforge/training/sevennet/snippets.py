"""How a trained SevenNet model is used without a study: files that are handed over with it, and run as they are."""

SNIPPETS = {
    "run_ase.py": """\
import ase.io, ilforge
atoms = ase.io.read("frame.xyz")
atoms.calc = ilforge.create({spec}).calculator()
print(atoms.get_potential_energy(), "eV")
""",
    "run_sevennet.py": """\
# runs in the environment of SevenNet (`ilforge env list` says where it is); this is the network alone: {added}
import ase.io, sevenn.calculator
atoms = ase.io.read("frame.xyz")
atoms.calc = sevenn.calculator.SevenNetCalculator("{file}", device="cpu")
print(atoms.get_potential_energy(), "eV")
""",
}
"""By file name. Words in braces: ``file``, ``spec`` and ``added``."""

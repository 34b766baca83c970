"""Ready-to-run files that use a trained MACE model without a study; they are written beside the model."""

SNIPPETS = {
    "run_ase.py": """\
import ase.io, mace.calculators
atoms = ase.io.read("frame.xyz")
atoms.calc = mace.calculators.MACECalculator(model_paths="{file}", device="cpu", default_dtype="{dtype}")
print(atoms.get_potential_energy(), "eV")
""",
    "run_openmm.py": """\
import ase.io, ilforge, openmm
atoms = ase.io.read("frame.xyz")
model = ilforge.create({{"kind": "mace", "path": "{file}", "sha256": "{sha256}", "dtype": "{dtype}"}})
system = model.openmm_system(ilforge.Liquid.of_frame(atoms).topology, atoms.cell.array)
context = openmm.Context(system, openmm.LangevinMiddleIntegrator({temperature_K}, 1.0, 0.0005))
context.setPositions(atoms.positions / 10)
print(context.getState(getEnergy=True).getPotentialEnergy())
""",
}
"""By file name. Words in braces: ``file``, ``sha256``, ``elements``, ``dtype`` and ``temperature_K``."""
BY_ION_NAME = frozenset({"run_openmm.py"})
"""Those that look ions up by name."""

"""How a trained NequIP model is used without a study: files that are handed over with it, and run as they are."""

SNIPPETS = {
    "run_ase.py": """\
import ase.io, ilforge
atoms = ase.io.read("frame.xyz")
atoms.calc = ilforge.create({spec}).calculator()
print(atoms.get_potential_energy(), "eV")
""",
    "run_nequip.py": """\
# runs in the environment of NequIP (`ilforge env list` says where it is)
import ase.io
from nequip.integrations.utils import basic_transforms
from nequip.integrations.ase import NequIPCalculator
from nequip.model.saved_models.load_utils import load_saved_model
from nequip.utils.global_state import set_global_state
set_global_state()
model = load_saved_model("{file}").eval()
elements = model.metadata["type_names"].split()
graphs = basic_transforms(model.metadata, float(model.metadata["r_max"]), elements, {{z: z for z in elements}})
atoms = ase.io.read("frame.xyz")
atoms.calc = NequIPCalculator(model, "cpu", transforms=graphs)
print(atoms.get_potential_energy(), "eV")
""",
}
"""By file name. Words in braces: ``file`` and ``spec``."""

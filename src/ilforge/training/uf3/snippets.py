"""How a UF3 potential is used without a study: files that are handed over with it, and run as they are."""

SNIPPETS = {
    "run_ase.py": """\
import ase.io, ilforge
atoms = ase.io.read("frame.xyz")
atoms.calc = ilforge.create({spec}).calculator()
print(atoms.get_potential_energy(), "eV")
""",
    "in.lammps": """\
# start.data must number the elements in this order: {elements}. LAMMPS leaves out the energies of single atoms.
units metal
atom_style atomic
read_data start.data
pair_style uf3 3
pair_coeff * * {file} {elements}
fix move all npt temp {temperature_K} {temperature_K} 0.1 iso 1 1 0.5
timestep 0.0005
run 2000
""",
}
"""By file name. Words in braces: ``file``, ``spec``, ``elements`` and ``temperature_K``."""

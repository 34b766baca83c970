"""Molecules by RDKit: from SMILES and structure files to bonds, geometries and conformers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from ilforge.arrays import Floats
from ilforge.errors import SettingsError

if TYPE_CHECKING:
    from ase import Atoms
    from rdkit.Chem import Mol

    from ilforge.liquid.ions import Ion
    from ilforge.liquid.typed_structures import TypedStructure

FORMATS = (".xyz", ".mol", ".sdf", ".pdb")
_RIGID = "ilforge_charge"  # property with the charge of a molecule whose bond orders are unknown


def from_ordered_smiles(smiles: str) -> Mol:
    """Molecule from a SMILES with explicit hydrogens and atom-map numbers 1..n, which give the order of atoms."""
    from rdkit import Chem

    parameters = Chem.SmilesParserParams()
    parameters.removeHs = False  # type: ignore[assignment]  # the setters in RDKit's stubs lack the argument
    molecule = Chem.MolFromSmiles(smiles, parameters)
    order = np.argsort([atom.GetAtomMapNum() for atom in molecule.GetAtoms()])
    molecule = Chem.RenumberAtoms(molecule, [int(i) for i in order])
    return _without_map_numbers(molecule)


def from_smiles(smiles: str, charge: int | None, key: str) -> Mol:
    """Molecule with hydrogens from a user's SMILES, in RDKit's order of atoms: hydrogens last.

    ``key`` is the key of the study file, for messages; ``charge``, if given, must agree with the SMILES.
    """
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
    if molecule is None or molecule.GetNumAtoms() == 0:
        raise SettingsError(f"{key}.smiles: {smiles!r} is not a SMILES that RDKit can read.")
    if any(atom.GetAtomicNum() == 0 for atom in molecule.GetAtoms()):
        raise SettingsError(f"{key}.smiles: {smiles!r} contains '*', which is not an element.")
    molecule = Chem.AddHs(_without_map_numbers(molecule))
    _one_fragment(molecule, f"{key}.smiles: {smiles!r}")
    _same_charge(charge, Chem.GetFormalCharge(molecule), key, f"the SMILES {smiles!r}")
    return molecule


def from_file(path: Path, charge: int | None, key: str) -> tuple[Mol, np.ndarray]:
    """Molecule and positions (Å) from an xyz, mol, sdf or pdb file, in the order of the file.

    Bonds come from a mol or sdf file; for xyz and pdb RDKit finds them from distances and ``charge``
    (Kim & Kim, Bull. Korean Chem. Soc. 2015, 36, 1769).
    """
    where = f"{key}.structure: {path}"
    if path.suffix.lower() not in FORMATS:
        raise SettingsError(f"{where} has an unknown format: use one of {', '.join(FORMATS)}.")
    if not path.is_file():
        raise SettingsError(f"{where} does not exist.")
    if path.suffix.lower() in (".mol", ".sdf"):
        molecule = _read_mol(path, where)
        _same_charge(charge, net_charge(molecule), key, str(path))
    else:
        if charge is None:
            raise SettingsError(f"{key}.charge is missing: {path.name} does not give the net charge. Add charge = ...")
        molecule = _perceive(*_read_coordinates(path, where), charge)
    _one_fragment(molecule, where)
    positions = np.array(molecule.GetConformer().GetPositions())
    problem = geometry_problem(molecule, positions)
    if problem:
        raise SettingsError(f"{where} does not look like a molecule in three dimensions: {problem}.")
    return molecule, positions


def from_typed(typed: TypedStructure, charge: int | None, key: str) -> tuple[Mol, np.ndarray]:
    """Molecule and positions (Å) of a structure whose atoms have force-field types, in the order of the file.

    Such files are rough: if atoms clash, RDKit finds another geometry for the same bonds.
    """
    _same_charge(charge, typed.charge, key, f"{typed.path.name} with {typed.force_field.path.name}")
    molecule = _perceive(list(typed.symbols), typed.positions, typed.charge, typed.bonds)
    _one_fragment(molecule, f"{key}.structure: {typed.path}")
    problem = geometry_problem(molecule, typed.positions)
    if problem is None:
        return molecule, typed.positions
    found = None if molecule.HasProp(_RIGID) else _embed(molecule, 1, seed=1)
    if found is None or not len(found):
        raise SettingsError(f"{key}.structure: {typed.path} does not have a reasonable geometry: {problem}.")
    return molecule, found[0]


def _read_mol(path: Path, where: str) -> Mol:
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        blocks = [b for b in path.read_text(errors="replace").split("$$$$\n") if b.strip()]
        molecule = Chem.MolFromMolBlock(blocks[0], removeHs=False) if len(blocks) == 1 else None
    if len(blocks) > 1:
        raise SettingsError(f"{where} holds {len(blocks)} molecules: give a file with one.")
    if molecule is None or molecule.GetNumAtoms() == 0:
        raise SettingsError(f"{where} could not be read as a mol file by RDKit.")
    if Chem.AddHs(molecule).GetNumAtoms() != molecule.GetNumAtoms():
        raise SettingsError(f"{where} leaves hydrogens out: save it with all hydrogens and 3D coordinates.")
    return _without_map_numbers(molecule)


def _read_coordinates(path: Path, where: str) -> tuple[list[str], np.ndarray]:
    import ase.io

    try:
        kind = "xyz" if path.suffix.lower() == ".xyz" else "proteindatabank"
        images = cast("list[Atoms]", ase.io.read(path, ":", kind))  # ":" gives a list
    except Exception as error:
        raise SettingsError(f"{where} could not be read: {error}") from error
    if len(images) != 1:
        raise SettingsError(f"{where} holds {len(images)} structures: give a file with one.")
    atoms = images[0]
    if len(atoms) == 0 or not np.isfinite(atoms.positions).all():
        raise SettingsError(f"{where} holds no atoms with finite coordinates.")
    return atoms.get_chemical_symbols(), atoms.positions


def _perceive(
    symbols: list[str], positions: np.ndarray, charge: int, bonds: list[tuple[int, int]] | None = None
) -> Mol:
    """Find bonds from distances (if not given) and bond orders from the charge; without bond orders it is rigid."""
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdDetermineBonds

    rows = [f"{s} {x:.8f} {y:.8f} {z:.8f}" for s, (x, y, z) in zip(symbols, positions, strict=True)]
    bare = Chem.MolFromXYZBlock("\n".join([str(len(rows)), "", *rows, ""]))
    if bonds is not None:
        editable = Chem.RWMol(bare)
        for i, j in bonds:
            editable.AddBond(i, j, Chem.BondType.SINGLE)
        bare = editable.GetMol()
    with rdBase.BlockLogs():
        if bonds is None:
            rdDetermineBonds.DetermineConnectivity(bare)
        molecule = Chem.Mol(bare)
        try:
            rdDetermineBonds.DetermineBondOrders(molecule, charge=charge, embedChiral=True)
            if Chem.GetFormalCharge(molecule) == charge:
                return molecule
        except (ValueError, RuntimeError):
            pass  # hypervalent and metal-containing ions have no Lewis structure that RDKit accepts
    bare.SetIntProp(_RIGID, charge)
    return bare


def net_charge(molecule: Mol) -> int:
    """Net charge, e."""
    from rdkit import Chem

    return molecule.GetIntProp(_RIGID) if molecule.HasProp(_RIGID) else Chem.GetFormalCharge(molecule)


def smiles_of(molecule: Mol) -> tuple[str | None, str | None]:
    """Plain SMILES, and SMILES with hydrogens and the atom order as map numbers; both None if bonds are unknown."""
    from rdkit import Chem

    if molecule.HasProp(_RIGID):
        return None, None
    numbered = Chem.Mol(molecule)
    for atom in numbered.GetAtoms():
        atom.SetAtomMapNum(atom.GetIdx() + 1)
    return Chem.MolToSmiles(Chem.RemoveHs(molecule)), Chem.MolToSmiles(numbered, canonical=False)


def geometry(molecule: Mol, key: str, seed: int = 1) -> np.ndarray:
    """One geometry of a molecule, ``(n_atoms, 3)`` Å.

    Raises
    ------
    SettingsError
        When RDKit finds no geometry in which exactly the bonded atoms are at bonding distance.
    """
    found = _embed(molecule, 1, seed)
    if not len(found):
        raise SettingsError(
            f"{key}.smiles: RDKit finds no reasonable geometry (it often fails for boron, hypervalent "
            f"atoms and metals). Give a structure file instead: structure = ..., charge = ..."
        )
    first: Floats = found[0]
    return first


def conformers(ion: Ion, count: int, seed: int) -> np.ndarray:
    """Random conformers of an ion, ``(n, n_atoms, 3)`` Å, centred; the same seed gives the same conformers.

    Distance geometry with torsion preferences (ETKDGv3: Wang et al., J. Chem. Inf. Model. 2020, 60, 2044),
    then MMFF94 or UFF. Rigid ions, and ions with unknown bond orders, have one conformer: their own geometry.
    """
    from rdkit.Chem import rdMolDescriptors

    own: Floats = ion.positions[None] - ion.positions.mean(axis=0)
    if ion.ordered_smiles is None:
        return own
    molecule = from_ordered_smiles(ion.ordered_smiles)
    if rdMolDescriptors.CalcNumRotatableBonds(molecule) == 0:
        return own
    found = _embed(molecule, count, seed)
    return found if len(found) else own


def _embed(molecule: Mol, count: int, seed: int) -> np.ndarray:
    """At most ``count`` relaxed and centred geometries from random starts; unreasonable ones are left out."""
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

    molecule = Chem.Mol(molecule)
    parameters = rdDistGeom.ETKDGv3()
    parameters.randomSeed = seed % (2**31 - 1)  # type: ignore[assignment]  # as above
    parameters.numThreads = 1  # type: ignore[assignment]
    with rdBase.BlockLogs():
        rdDistGeom.EmbedMultipleConfs(molecule, count, parameters)
        embedded = [np.array(conformer.GetPositions()) for conformer in molecule.GetConformers()]
        if rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
            rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(molecule, numThreads=1)
        elif rdForceFieldHelpers.UFFHasAllMoleculeParams(molecule):
            rdForceFieldHelpers.UFFOptimizeMoleculeConfs(molecule, numThreads=1)
    relaxed = [np.array(conformer.GetPositions()) for conformer in molecule.GetConformers()]
    good = []
    for candidates in zip(relaxed, embedded, strict=True):  # the force field may have spoiled a reasonable geometry
        sensible = [c for c in candidates if geometry_problem(molecule, c) is None]
        if sensible:
            good.append(sensible[0] - sensible[0].mean(axis=0))
    return np.array(good).reshape(-1, molecule.GetNumAtoms(), 3)


def geometry_problem(molecule: Mol, positions: np.ndarray) -> str | None:
    """The fault of a geometry, in words; None if bonds have reasonable lengths and no atoms clash.

    Bonds must be 0.75 to 1.3 times as long as the sum of covalent radii; other pairs must be farther apart than 1.1
    times this sum.
    """
    from ase.data import covalent_radii

    if not np.isfinite(positions).all():
        return "coordinates that are not numbers"
    radii = covalent_radii[[atom.GetAtomicNum() for atom in molecule.GetAtoms()]]
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    ratios = distances / (radii[:, None] + radii[None])
    bonded = np.zeros(ratios.shape, dtype=bool)
    for bond in molecule.GetBonds():
        i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        bonded[i, j] = bonded[j, i] = True
    apart = ~bonded & ~np.eye(len(ratios), dtype=bool)
    wrong = (bonded & ((ratios < 0.75) | (ratios > 1.3))) | (apart & (ratios < 1.1))
    if not wrong.any():
        return None
    i, j = (int(k) for k in np.argwhere(wrong)[0])
    names = [f"{molecule.GetAtomWithIdx(k).GetSymbol()} (atom {k + 1})" for k in (i, j)]
    return f"{names[0]} and {names[1]} are {distances[i, j]:.2f} Å apart"


def _one_fragment(molecule: Mol, where: str) -> None:
    from rdkit import Chem

    count = len(Chem.GetMolFrags(molecule))
    if count > 1:
        raise SettingsError(
            f"{where} holds {count} separate molecules. Define each ion on its own; liquid.ions counts them."
        )


def _same_charge(given: int | None, found: int, key: str, source: str) -> None:
    if given is not None and given != found:
        raise SettingsError(f"{key}.charge is {given:+d}, but {source} has charge {found:+d}.")


def _without_map_numbers(molecule: Mol) -> Mol:
    for atom in molecule.GetAtoms():
        atom.SetAtomMapNum(0)
    return molecule

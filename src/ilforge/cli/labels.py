"""Labels from and to other programs: import, rejected, export-labels, atoms."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ilforge.cli import ilforge
from ilforge.cli.frame_options import (
    MadeOf,
    charge_option,
    gate_options,
    made_of_options,
    show_refusals,
    tally_in_words,
)
from ilforge.cli.potential_option import parse_potential
from ilforge.cli.single import BONDS_UNCHECKED, refuse_replacing
from ilforge.errors import DidNotFinish, SettingsError
from ilforge.labelling.atoms import kinds_with_atoms

UNITS_HELP = (
    "Units of files that do not give them: metal, atomic, real, or a list such as "
    "energy=hartree,forces=hartree/bohr,stress=kbar,virial=eV,length=bohr. A minus before the unit of stress or virial "
    "(stress=-kbar) means that compression is positive; stress=none leaves stresses out."
)

if TYPE_CHECKING:
    from ase import Atoms

    from ilforge.labelling.gate_settings import GateSettings
    from ilforge.labelling.labels import Label
    from ilforge.labelling.reading.outputs import Imported
    from ilforge.labelling.refusals import Refusal


@ilforge.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path())
@made_of_options
@charge_option
@click.option("--method", default="", metavar="NAME", help="Name of the method, for files that do not give it.")
@click.option("--mixed-methods", is_flag=True, help="Accept files that were made with different methods.")
@click.option("--energy-key", metavar="KEY", help="Name of the energy in extended XYZ or an ASE database.")
@click.option("--forces-key", metavar="KEY", help="Name of the forces in these files.")
@click.option("--stress-key", metavar="KEY", help="Name of the stress in these files.")
@click.option("--virial-key", metavar="KEY", help="Name of the virial in these files: stress = -virial / volume.")
@click.option("--units", default="", metavar="UNITS", help=UNITS_HELP)
@gate_options
@click.option("--store", type=click.Path(file_okay=False), metavar="STORE", help="Also keep all labels in this store.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    default="labelled.xyz",
    show_default=True,
    help="File of the accepted frames.",
)
def import_(
    files: tuple[str, ...],
    made_of: MadeOf,
    charge: int | None,
    method: str,
    mixed_methods: bool,
    units: str,
    gate: GateSettings,
    store: str | None,
    out: str,
    **keys: str | None,
) -> None:
    """Import labels from vasprun.xml, OUTCAR, CP2K or GPAW output, ASE databases, extended XYZ, DeePMD.

    Files may be compressed (gz, bz2, xz). The accepted frames are written to --out, for `ilforge train`, `validate` and
    `export-labels`. Frames are rejected if they did not converge, are incomplete, occur twice or fail the gate; they
    are written to a file beside --out, and `ilforge rejected` prints the reason for each.

    --store also adds the labels to a store. A study uses labels of a store only if they were made by exactly the
    method of its `[reference]`. This holds for imported datasets of ilforge, whose energies of isolated atoms are added
    too, and never for files of other programs.

    \b
    ilforge import run1/vasprun.xml run2/OUTCAR.gz --ions "32 EMIM, 32 BF4"
    ilforge import set.xyz --energy-key dft_energy --forces-key dft_forces --units forces=hartree/bohr,energy=hartree
    """
    from ilforge import frames
    from ilforge.labelling.reading.foreign import Keys
    from ilforge.labelling.reading.foreign_units import parse_units
    from ilforge.labelling.reading.outputs import import_labels, judge_imported
    from ilforge.labelling.refusals import write_refusals

    paths = [Path(file) for file in files]
    refuse_replacing(Path(out), paths)
    found = import_labels(
        paths,
        ions=made_of.ions,
        method=method,
        one_method=not mixed_methods,
        keys=Keys(**{name.removesuffix("_key"): key for name, key in keys.items()}, units=parse_units(units)),
        charge=charge,
        define=made_of.define,
        bond_factor=gate.bond_factor,
    )
    accepted, refusals = judge_imported(found, made_of.topology_of_known, gate)
    if store is not None:
        _keep(found.labels, paths, Path(store))
    frames.write(Path(out), accepted)
    refused = write_refusals(Path(out), refusals)
    _print_imported(found, accepted)
    show_refusals(refusals, refused)
    if any(made_of.topology_of_known(label.frame) is None for label in found.labels):
        click.echo(BONDS_UNCHECKED)
    counts = tally_in_words([*[None] * len(accepted), *(refusal.reason for refusal in refusals)])
    if not accepted:
        raise DidNotFinish(f"No label was accepted: {counts or 'the files contain no frame'}")
    if found.unstated:
        click.echo(
            f"Warning: the files of {found.unstated} labels do not say whether these converged: make sure of it."
        )
    click.echo(f"{counts}. Wrote the accepted ones to {out}")


def _keep(labels: Sequence[Label], files: Sequence[Path], store: Path) -> None:
    """Keep the labels, and the energies of isolated atoms of datasets among the files, in a store."""
    from ilforge.labelling.atoms import published_atoms
    from ilforge.labelling.datasets.published import is_published, open_published
    from ilforge.labelling.storing.store import LabelStore

    atoms = [atom for file in files if is_published(file) for atom in published_atoms(open_published(file))]
    with LabelStore(store / "labels") as kept:
        kept.verify()
        kept.add_many([*labels, *atoms])
        kept.backup()


def _print_imported(found: Imported, accepted: Sequence[Atoms]) -> None:
    """Print which labels the accepted frames have, and what is remarkable about the files."""
    from ilforge.labelling.datasets.dataset import census

    for name, of_kind in census(accepted).items():
        click.echo(f"{name:7s} {of_kind['present']} present, {of_kind['missing']} missing, {of_kind['zero']} zero")
    for path, ending in found.endings.items():
        click.echo(f"Warning: {path}: {ending}")
    for path, remarks in found.remarks.items():
        for remark in remarks:
            click.echo(f"Warning: {path}: {remark}.")


@ilforge.command("rejected")
@click.argument("path", type=click.Path())
@click.option("--machine", type=click.Path(dir_okay=False), help="machine.toml to use, if PATH is a study.")
@click.option("--store", type=click.Path(file_okay=False), help="Folder of results and labels, if PATH is a study.")
def rejected(path: str, machine: str | None, store: str | None) -> None:
    """Print every rejected label with its source and reason.

    PATH is the output of `import` or `label`, a dataset, or a study file.

    \b
    ilforge rejected labelled.xyz
    ilforge rejected study.toml
    """
    from ilforge.labelling.refusals import by_kind

    found = _refusals_of(path, machine, store)
    for refusal in found:
        click.echo(f"{refusal.source}: {refusal.reason}")
    kinds = ", ".join(f"{len(members)} {kind}" for kind, members in by_kind(found).items())
    click.echo(f"{len(found)} rejected{f': {kinds}' if kinds else ''}")


def _refusals_of(path: str, machine: str | None, store: str | None) -> list[Refusal]:
    from ilforge.labelling.datasets.published import is_published, open_published
    from ilforge.labelling.refusals import Refusal, read_refusals

    if is_published(Path(path)):
        entries = open_published(Path(path)).entries()
        return [
            Refusal(each.label.frame, f"{path}, {each.purpose}, {each.label.frame_digest[:12]}", each.rejected)
            for each in entries
            if each.rejected
        ]
    if Path(path).suffix == ".toml":
        from ilforge.cli.study import opened
        from ilforge.workflow.publish import refusals_of_study

        return refusals_of_study(*opened(path, machine, store, None))
    return read_refusals(Path(path))


@ilforge.command("export-labels")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option(
    "--format",
    "program",
    type=click.Choice(["deepmd", "deepmd-hdf5", "extxyz", "dataset"]),
    required=True,
    help="See above.",
)
@click.option("--no-virials", is_flag=True, help="With deepmd and deepmd-hdf5: leave virials out.")
@click.option("--machine", type=click.Path(dir_okay=False), help="With dataset: machine.toml to use.")
@click.option("--store", type=click.Path(file_okay=False), help="With dataset: folder of results and labels.")
@click.option("--licence", default="", help="With dataset: licence of the labels.")
@click.option("--note", default="", help="With dataset: further information for its README.md.")
@click.option("--out", type=click.Path(), required=True, help="Folder to write to; a file for extxyz and deepmd-hdf5.")
def export_labels(
    file: str,
    program: str,
    no_virials: bool,
    machine: str | None,
    store: str | None,
    licence: str,
    note: str,
    out: str,
) -> None:
    """Write labelled frames in the format of other programs, or the labels of a study as a dataset to share.

    FILE contains labelled frames. deepmd writes npy systems. deepmd-hdf5 writes one file of systems, which DeePMD reads
    as FILE.hdf5#/SYSTEM. extxyz uses the names that ASE and other trainers expect (energy, forces, stress). With
    dataset, FILE is a study file: its labels so far are written to a folder with a description of how they were made
    (README.md). Other studies can name this folder as their `dataset`.

    \b
    ilforge export-labels labelled.xyz --format deepmd --out deepmd-data
    ilforge export-labels study.toml --format dataset --licence CC-BY-4.0 --out my-labels
    """
    from ilforge import frames
    from ilforge.labelling.datasets.exchange import export_deepmd, export_plain_extxyz
    from ilforge.labelling.datasets.exchange_hdf5 import export_deepmd_hdf5
    from ilforge.report.wording import counted

    if (program == "dataset") != (Path(file).suffix == ".toml"):
        expected = "a study file (.toml)" if program == "dataset" else "a file of labelled frames, not a study"
        raise SettingsError(f"--format {program} takes {expected}; found {file}.")
    refuse_replacing(Path(out), [Path(file)])
    if program == "dataset":
        _export_dataset(file, machine, store, out, licence, note)
        return
    labelled = frames.read(Path(file))
    lacking = sum(frames.ENERGY not in frame.info or frames.FORCES not in frame.arrays for frame in labelled)
    if lacking or not labelled:
        raise SettingsError(f"{lacking} of {len(labelled)} frames of {file} have no labels: label them first.")
    if program == "extxyz":
        export_plain_extxyz(Path(out), labelled)
        click.echo(f"Wrote {counted(len(labelled), 'frame')} to {out}")
        return
    elements = sorted({symbol for frame in labelled for symbol in frame.get_chemical_symbols()})
    write = export_deepmd if program == "deepmd" else export_deepmd_hdf5
    systems = write(Path(out), labelled, elements, virials=not no_virials)
    many = f"{counted(len(labelled), 'frame')} in {counted(len(systems), 'system')}"
    click.echo(f"Wrote {many} to {out}; types: {' '.join(elements)}")


def _export_dataset(file: str, machine: str | None, store: str | None, out: str, licence: str, note: str) -> None:
    from ilforge.cli.study import opened
    from ilforge.workflow.publish import publish_study

    dataset, missing = publish_study(*opened(file, machine, store, None), Path(out), licence, note)
    for purpose in dataset.manifest["sets"]:
        listed = ", ".join(f"{n} {what}" for what, n in dataset.counts(purpose).items())
        rejected = dataset.manifest["rejected"][purpose]
        refused = "; rejected: " + ", ".join(f"{n} {why}" for why, n in rejected.items()) if rejected else ""
        click.echo(f"{purpose}: {listed}, from {dataset.manifest['parents'][purpose]} boxes{refused}")
    if missing:
        click.echo(f"Warning: {missing} sampled frames have no label yet: continue the study, then export again.")
    click.echo(f"Wrote {dataset.directory}, labelled by {dataset.manifest['title']}")


@ilforge.command("atoms")
@click.argument("elements", nargs=-1, required=True)
@click.option("--potential", required=True, help=f"{' or '.join(kinds_with_atoms())}, with default settings.")
@click.option(
    "--store",
    type=click.Path(file_okay=False),
    metavar="STORE",
    help="Store of these energies; those already in it are not computed again.",
)
def atoms(elements: tuple[str, ...], potential: str, store: str | None) -> None:
    """Compute energies of isolated, spin-polarised atoms in eV: the reference for the energies of a model.

    \b
    ilforge atoms C H N B F --potential gpaw --store ilforge-store
    """
    from ase.data import atomic_numbers

    from ilforge import potentials
    from ilforge.labelling.atoms import atom_label, held_atoms, require_atoms
    from ilforge.labelling.storing.store import LabelStore

    unknown = [element for element in elements if element not in atomic_numbers]
    if unknown:
        raise SettingsError(f"{unknown[0]} is not an element.")
    spec, failed = parse_potential(potential, None), 0
    method = potentials.create(spec)
    require_atoms(method)
    with contextlib.ExitStack() as stack:
        labels = stack.enter_context(LabelStore(Path(store) / "labels")) if store else None
        held = held_atoms(labels, method.describe(), elements) if labels else {}
        for element in sorted(set(elements)):
            label = held[element] if element in held and not held[element].failed else atom_label(spec, element)
            if labels:
                labels.add(label)
            failed += label.failed
            click.echo(f"{element:2s} none: {label.error}" if label.failed else f"{element:2s} {label.energy:16.6f} eV")
    if failed:
        raise DidNotFinish(f"{failed} of {len(set(elements))} atoms have no energy: see the reasons above.")

"""Options of all commands that read frames: the ions of the frames, and the conditions on their labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ilforge.cli.own_ions import define_option, parse_define
from ilforge.errors import SettingsError
from ilforge.labelling.gate_settings import GateSettings

if TYPE_CHECKING:
    from ase import Atoms

    from ilforge.labelling.refusals import Refusal

_GATE = {
    "max_net_force": ("max_net_force_eV_A", "eV/Å"),
    "max_force": ("max_force_eV_A", "eV/Å"),
    "max_energy_jump": ("max_energy_jump_eV_atom", "eV per atom"),
    "bond_factor": ("bond_factor", ""),
}
_SHOWN = 5  # largest number of kinds of refusals that are printed

ions_option = click.option(
    "--ions",
    default="",
    metavar="LIST",
    help="Ions of frames that do not name them: '2 PYR14, 2 BF4'. Atoms are put in this order by their bonds.",
)
charge_option = click.option(
    "--charge",
    type=int,
    help="Net charge, e, of frames without periodicity that give neither their charge nor their ions. The multiplicity "
    "is the lowest for the number of electrons; frames with a higher one are refused.",
)


@dataclass(frozen=True)
class MadeOf:
    """The ions of frames, given by the user."""

    ions: str = ""
    define: Mapping[str, Any] = field(default_factory=dict)

    def topology_of(self, frame: Atoms) -> Any:
        """Topology of a frame that names its ions, otherwise None."""
        from ilforge.liquid.liquid import Liquid

        return Liquid.of_frame(frame, self.define).topology if frame.info.get("ions") else None

    def topology_of_known(self, frame: Atoms) -> Any:
        """The same, but None for ions that are not known here."""
        try:
            return self.topology_of(frame)
        except SettingsError:
            if frame.info.get("ions") == self.ions:
                raise
            return None

    def read(self, file: str | Path, bond_factor: float | None = None, last: bool = False) -> list[Atoms]:
        """Frames of a file, or only the last one, with atoms in the order of their ions.

        Raises
        ------
        SettingsError
            When the file does not exist or contains no frames, or a frame has positions that are not numbers, or
            periodicity without a cell.
        """
        from ilforge import frames
        from ilforge.labelling.atom_order import frames_in_order
        from ilforge.labelling.storing.state import require_geometry

        found = frames.read(Path(file))
        if not found:
            raise SettingsError(f"{file} holds no frames.")
        used = range(len(found))[-1:] if last else range(len(found))
        for number in used:
            require_geometry(found[number], f"{file}#{number}")
        ordered, moved = frames_in_order([found[number] for number in used], self.ions, self.define, bond_factor)
        if moved:
            click.echo(f"The atoms of {moved} frames were put in the order of their ions.", err=True)
        if density := frames.said_densities(ordered):
            click.echo(f"Warning: {file}: {density}.", err=True)
        return ordered

    def liquid_of(self, frame: Atoms, file: str | Path) -> Any:
        """The liquid of a frame.

        Raises
        ------
        SettingsError
            When the ions of the frame are unknown.
        """
        from ilforge.liquid.liquid import Liquid

        if not frame.info.get("ions"):
            raise SettingsError(
                f"{file} does not name the ions of its frames: name them with --ions, such as '2 PYR14, 2 BF4'."
            )
        return Liquid.of_frame(frame, self.define)

    def liquid_of_all(self, frames: Sequence[Atoms], file: str | Path) -> Any:
        """The one liquid of all frames.

        Raises
        ------
        SettingsError
            When nothing says what they are made of, or one has other atoms than its ions.
        """
        from ase.formula import Formula

        liquid = self.liquid_of(frames[0], file)
        expected = liquid.topology.symbols
        for number, frame in enumerate(frames):
            if tuple(frame.get_chemical_symbols()) == expected:
                continue
            same = sorted(frame.get_chemical_symbols()) == sorted(expected)
            formula = f"{len(frame)}, {frame.symbols.formula:hill}"
            found = "these in another order, which does not follow from the bonds" if same else formula
            wanted = f"{Formula.from_list(list(expected)):hill}"
            raise SettingsError(
                f"{file}: {liquid.label} has {len(expected)} atoms, {wanted}, but frame {number} has {found}. Name the "
                "ions of the frames with --ions; all frames of the file must contain the same ions."
            )
        return liquid


def made_of_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--ions`` and ``--define``; the command gets them as ``made_of``."""

    @wraps(command)
    def with_made_of(*args: Any, ions: str, define: tuple[str, ...], **arguments: Any) -> Any:
        from ilforge.liquid.liquid import Liquid

        own = parse_define(define)
        # in the form of frames: the salt [bmim][PF6] becomes two ions
        label = Liquid.from_label(ions, own, vacuum=True).label if ions else ""
        return command(*args, made_of=MadeOf(label, own), **arguments)

    return ions_option(define_option(with_made_of))


def gate_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Limits of the gate; the command gets them as ``gate``."""

    @wraps(command)
    def with_gate(*args: Any, **arguments: Any) -> Any:
        given = {name: arguments.pop(name) for name in _GATE}
        return command(*args, gate=_parse_gate(given), **arguments)

    helps = {
        "max_net_force": "Largest component of the sum of forces, eV/Å, for frames of up to 70 atoms; for larger "
        "frames it grows with the square root of the number of atoms.",
        "max_force": "Largest force on any atom, eV/Å.",
        "max_energy_jump": "Largest difference of an energy from the median of its recipe, eV per atom.",
        "bond_factor": "Two atoms are bonded if they are closer than this factor times the sum of their covalent "
        "radii.",
    }
    for name in reversed(_GATE):
        default = GateSettings.model_fields[_GATE[name][0]].default
        words = f"{helps[name]}  [default: {default:g}]"
        command_with = click.option(f"--{name.replace('_', '-')}", name, type=float, help=words)
        with_gate = command_with(with_gate)
    return with_gate


def _parse_gate(given: Mapping[str, float | None]) -> GateSettings:
    from pydantic import ValidationError

    try:
        return GateSettings(**{_GATE[name][0]: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        option = next(name for name, (key, _) in _GATE.items() if key == first["loc"][0])
        raise SettingsError(f"--{option.replace('_', '-')} is {first['input']}: {first['msg'].lower()}.") from None


def show_refusals(refusals: Sequence[Refusal], file: Path | None) -> None:
    """Print one refusal of each kind, and the file that has all of them."""
    from ilforge.labelling.refusals import by_kind

    kinds = by_kind(refusals)
    for members in list(kinds.values())[:_SHOWN]:
        more = f" (and {len(members) - 1} more of this kind)" if len(members) > 1 else ""
        click.echo(f"rejected {members[0].source}: {members[0].reason}{more}")
    if len(kinds) > _SHOWN:
        click.echo(f"... and {len(kinds) - _SHOWN} more kinds")
    if file is not None:
        click.echo(
            f"All {len(refusals)} rejected frames with their reasons are in {file}. See them: ilforge rejected {file}"
        )


def tally_in_words(reasons: Iterable[str | None]) -> str:
    """How many labels were accepted, and how many rejected for each kind of reason: ``"9 accepted, 1 net force"``."""
    from ilforge.labelling.gate import tally

    return ", ".join(f"{n} {verdict}" for verdict, n in tally(reasons).items())

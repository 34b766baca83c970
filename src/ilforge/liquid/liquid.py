"""A liquid: which ions, and how many of each."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ilforge.errors import SettingsError
from ilforge.liquid.ions import Ion, get_ion, named_ions
from ilforge.liquid.settings import IonSettings
from ilforge.liquid.topology import Topology
from ilforge.units import AMU_PER_A3_IN_G_CM3

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True)
class Liquid:
    """Numbers of ions. Make one with :meth:`of`, :meth:`from_label` or :meth:`of_frame`.

    Charges add up to zero, except for ions in a vacuum (``vacuum=True``).

    Attributes
    ----------
    ions
        Pairs of ion and count; a frame lists all copies of the first ion, then of the second, and so on.
    """

    ions: tuple[tuple[Ion, int], ...]

    @classmethod
    def of(
        cls,
        counts: Mapping[str, int],
        define: Mapping[str, IonSettings] | None = None,
        base: Path | None = None,
        vacuum: bool = False,
    ) -> Liquid:
        """The liquid with these counts of named ions, in this order.

        Parameters
        ----------
        counts
            Name (or alias) of each ion, or of a salt (``"LiTFSI"``), and how many there are.
        define, base
            The study's own ions, and the directory to which their file paths are relative.
        vacuum
            Whether these are ions in a vacuum: one or more ions with any net charge.

        Raises
        ------
        SettingsError
            When a name is unknown, a count is not a positive integer, or the charges do not add up to zero.
        """
        if not counts:
            raise SettingsError("liquid.ions: name at least one ion.")
        ions: dict[Ion, int] = {}
        of_salts: set[Ion] = set()  # LiTFSI and PYR14TFSI share an ion, whose counts are added
        for name, count in counts.items():
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise SettingsError(f"liquid.ions.{name} is {count!r}: it must be a whole number from 1.")
            parts = named_ions(name, define)
            for part in parts:
                ion = get_ion(part, define, base)
                if ion in ions and len(parts) == 1 and ion not in of_salts:
                    raise SettingsError(
                        f"liquid.ions: {name} is another name of {ion.name}, which is listed already. List it once, "
                        "with the sum of the counts."
                    )
                ions[ion] = ions.get(ion, 0) + count
                of_salts |= {ion} if len(parts) == 2 else set()
        if not vacuum:
            _refuse_charged(ions)
        return cls(tuple(ions.items()))

    @classmethod
    def from_label(
        cls,
        label: str,
        define: Mapping[str, IonSettings] | None = None,
        base: Path | None = None,
        vacuum: bool = False,
    ) -> Liquid:
        """The liquid from the ``ions`` string of a frame: ``"2 PYR14, 2 BF4"``."""
        counts: dict[str, int] = {}
        for part in label.split(","):
            match = re.fullmatch(r"\s*(\d+) +([^\s;](?:[^;]*[^\s;])?)\s*", part)
            if match is None or match[2] in counts:
                raise SettingsError(
                    f'ions = "{label}" cannot be read. Write numbers and names of ions, such as "2 PYR14, 2 BF4".'
                )
            counts[match[2]] = int(match[1])
        try:
            return cls.of(counts, define, base, vacuum)
        except SettingsError as error:  # no study file is involved
            raise SettingsError(str(error).replace("liquid.ions", f'ions = "{label}"', 1)) from error

    @classmethod
    def of_frame(
        cls, frame: Atoms, define: Mapping[str, IonSettings] | None = None, base: Path | None = None
    ) -> Liquid:
        """The liquid of a frame, from its ``ions``; a frame without periodicity contains ions in a vacuum."""
        return cls.from_label(frame.info.get("ions", ""), define, base, vacuum=not frame.pbc.any())

    @property
    def label(self) -> str:
        """The ``ions`` string of frames: ``"2 PYR14, 2 BF4"``."""
        return ", ".join(f"{count} {ion.name}" for ion, count in self.ions)

    @property
    def name(self) -> str:
        """``PYR14BF4`` if counts are equal, otherwise with counts: ``Li2 PYR14_18 TFSI20``; cations first."""
        ordered = sorted(self.ions, key=lambda pair: -pair[0].charge)
        if len({count for _, count in ordered}) == 1:
            return "".join(ion.name for ion, _ in ordered)
        return " ".join(_counted(ion.name, count) for ion, count in ordered)

    @property
    def counts(self) -> dict[str, int]:
        """Name and number of each ion."""
        return {ion.name: count for ion, count in self.ions}

    @property
    def elements(self) -> set[str]:
        """Symbols of the elements in the ions."""
        return {symbol for ion, _ in self.ions for symbol in ion.symbols}

    @cached_property
    def topology(self) -> Topology:
        """Atoms, bonds and molecules of a box of this liquid."""
        return Topology.of(self.ions)

    @cached_property
    def mass(self) -> float:
        """Mass of all ions, amu."""
        return sum(ion.mass * count for ion, count in self.ions)

    def volume(self, density_g_cm3: float) -> float:
        """Volume in Å^3 at this density: V = m / rho."""
        return self.mass * AMU_PER_A3_IN_G_CM3 / density_g_cm3


def _counted(name: str, count: int) -> str:
    if count == 1:
        return name
    return f"{name}_{count}" if name[-1].isdigit() else f"{name}{count}"


def _refuse_charged(ions: Mapping[Ion, int]) -> None:
    net = sum(ion.charge * count for ion, count in ions.items())
    if net == 0:
        return
    found = ", ".join(f"{count} {ion.name} ({ion.charge:+d} each)" for ion, count in ions.items())
    charges = [ion.charge for ion in ions]
    if all(charge >= 0 for charge in charges) or all(charge <= 0 for charge in charges):
        remedy = f"Add {'an anion' if net > 0 else 'a cation'}."
    else:
        smallest = _as_table(ions, _add_until_neutral([1] * len(ions), charges))
        nearest = _as_table(ions, _add_until_neutral(list(ions.values()), charges))
        remedy = f"The smallest neutral composition is {smallest}"
        remedy += "." if nearest == smallest else f"; the next larger one is {nearest}."
    raise SettingsError(f"liquid.ions: {found}: net charge {net:+d}, but a liquid is neutral. {remedy}")


def _add_until_neutral(counts: list[int], charges: list[int]) -> list[int]:
    """Counts after adding the fewest ions that make the liquid neutral (breadth-first search over the net charge).

    ``charges`` must contain both signs; then a solution exists.
    """
    start = sum(count * charge for count, charge in zip(counts, charges, strict=True))
    reached: dict[int, tuple[int, int]] = {start: (start, -1)}
    queue = deque([start])
    while 0 not in reached:
        net = queue.popleft()
        for kind, charge in enumerate(charges):
            # only add ions that oppose the present net charge, so that the search is finite
            if charge * net < 0 and net + charge not in reached:
                reached[net + charge] = (net, kind)
                queue.append(net + charge)
    counts, net = list(counts), 0
    while net != start:
        net, kind = reached[net]
        counts[kind] += 1
    return counts


def _as_table(ions: Mapping[Ion, int], counts: list[int]) -> str:
    return "{ " + ", ".join(f"{ion.name} = {n}" for ion, n in zip(ions, counts, strict=True)) + " }"

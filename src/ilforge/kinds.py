"""Kinds of potentials, engines and so on that studies name. Each kind is described once, beside its code.

A kind of ilforge is a module with a ``KIND`` and a line in its registry. An installed package can add kinds by
entry points: under ``[project.entry-points."ilforge.potentials"]``, ``my_kind = "my_package.my_module:KIND"``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, Protocol, TypeVar

from ilforge.errors import SettingsError


class _Named(Protocol):
    @property
    def name(self) -> str: ...


K = TypeVar("K", bound=_Named)


class Registry(Mapping[str, K], Generic[K]):
    """Kinds by name; each is loaded at its first use.

    Parameters
    ----------
    what
        Noun for error messages: ``"potential"``.
    group
        Group of entry points for further kinds: ``"ilforge.potentials"``.
    modules
        Module of each kind of ilforge, with the description ``KIND``; in the order in which kinds are listed and tried.
    """

    def __init__(self, what: str, group: str, modules: Mapping[str, str]):
        self.what, self.group, self._modules = what, group, dict(modules)
        self._own: dict[str, K] = {}

    @cached_property
    def _plugins(self) -> tuple[dict[str, K], dict[str, str]]:
        """Kinds of installed packages, and the faults of those that could not be loaded."""
        found: dict[str, K] = {}
        faults: dict[str, str] = {}
        for point in entry_points(group=self.group):
            try:
                if point.name in self._modules or point.name in found:
                    raise SettingsError(
                        f"The installed package with {point.value} calls a kind of {self.what} {point.name!r}, but "
                        "this name exists already: remove the package or rename its entry point."
                    )
                found[point.name] = self._load(point)
            except SettingsError as error:
                faults[point.name] = str(error)
        return found, faults

    @property
    def faults(self) -> dict[str, str]:
        """Faults of plug-ins that could not be loaded, by name; these are not among the kinds."""
        return self._plugins[1]

    def leave_out(self, name: str, fault: str) -> None:
        """Take a plug-in out of the kinds because of a fault that showed after it was loaded."""
        kinds, faults = self._plugins
        del kinds[name]
        faults[name] = fault

    def __iter__(self) -> Iterator[str]:
        yield from self._modules
        yield from self._plugins[0]

    def __len__(self) -> int:
        return len(self._modules) + len(self._plugins[0])

    def __contains__(self, name: object) -> bool:
        return name in self._modules or name in self._plugins[0]

    def __getitem__(self, name: str) -> K:
        if name not in self._modules:
            return self._plugins[0][name]
        if name not in self._own:
            self._own[name] = import_module(self._modules[name]).KIND
        return self._own[name]

    def named(self, name: Any) -> K:
        """The kind with this name.

        Raises
        ------
        SettingsError
            When there is no such kind; the message lists the existing ones.
        """
        if name in self:
            return self[name]
        if name in self.faults:
            raise SettingsError(self.faults[name])
        near = difflib.get_close_matches(str(name), list(self), n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise SettingsError(f"{name!r} is not a kind of {self.what}.{hint} Known: {', '.join(self)}.")

    def _load(self, point: EntryPoint) -> K:
        try:
            kind: K = point.load()
        except Exception as error:
            raise SettingsError(
                f"{point.value}, which contains the {self.what} {point.name!r}, could not be loaded: {error!r}. Repair "
                "or remove the package."
            ) from error
        if getattr(kind, "name", None) != point.name:
            raise SettingsError(
                f"{point.value} describes a {self.what} named {getattr(kind, 'name', None)!r}, and its entry point is "
                f"called {point.name!r}: give both one name."
            )
        return kind

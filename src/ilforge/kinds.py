"""Kinds of things that studies name, each described once, beside its code: those of ilforge and those of plug-ins.

A kind of ilforge is a module with a ``KIND`` and a line in its registry. An installed package adds kinds of its own by
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
    """Kinds by name, each loaded when it is first asked for.

    Parameters
    ----------
    what
        What these are kinds of, in the words of error messages: ``"potential"``.
    group
        Entry points that bring further ones: ``"ilforge.potentials"``.
    modules
        Module of each kind of ilforge, which describes it as ``KIND``; in the order in which they are listed and tried.
    """

    def __init__(self, what: str, group: str, modules: Mapping[str, str]):
        self.what, self.group, self._modules = what, group, dict(modules)
        self._own: dict[str, K] = {}

    @cached_property
    def _plugins(self) -> tuple[dict[str, K], dict[str, str]]:
        """Kinds of installed packages, and what is wrong with those that could not be loaded."""
        found: dict[str, K] = {}
        faults: dict[str, str] = {}
        for point in entry_points(group=self.group):
            try:
                if point.name in self._modules or point.name in found:
                    raise SettingsError(
                        f"The installed package that brings {point.value} calls a kind of {self.what} {point.name!r}, "
                        "and there is one of that name already: remove the package or rename its entry point."
                    )
                found[point.name] = self._load(point)
            except SettingsError as error:
                faults[point.name] = str(error)
        return found, faults

    @property
    def faults(self) -> dict[str, str]:
        """What is wrong with plug-ins that could not be taken in, by name; they are not among the kinds."""
        return self._plugins[1]

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
        """The kind of that name.

        Raises
        ------
        SettingsError
            Where there is none: with those that there are.
        """
        if name in self:
            return self[name]
        if name in self.faults:
            raise SettingsError(self.faults[name])
        near = difflib.get_close_matches(str(name), list(self), n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise SettingsError(f"{name!r} is no kind of {self.what}.{hint} There are {', '.join(self)}.")

    def _load(self, point: EntryPoint) -> K:
        try:
            kind: K = point.load()
        except Exception as error:
            raise SettingsError(
                f"{point.value}, which brings the {self.what} {point.name!r}, could not be loaded: {error!r}. Mend or "
                "remove the package."
            ) from error
        if getattr(kind, "name", None) != point.name:
            raise SettingsError(
                f"{point.value} describes a {self.what} named {getattr(kind, 'name', None)!r}, and its entry point is "
                f"called {point.name!r}: give both one name."
            )
        return kind

"""The option ``--device`` of single steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import click

from ilforge import devices, machine_programs
from ilforge.devices import Devices
from ilforge.errors import SettingsError


def device_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--device``, which sets the devices of this process; it is not passed to the command."""
    return click.option(
        "--device",
        default="cpu",
        show_default=True,
        expose_value=False,
        callback=lambda context, parameter, text: devices.use(Devices.parse(text)),
        help=f"Where to compute: {devices.ALLOWED}. These can use a GPU: {_gpu_users()}.",
    )(command)


def _gpu_users() -> str:
    """Potentials and engines that can compute on a GPU."""
    from ilforge.dynamics import ENGINES
    from ilforge.potentials import POTENTIALS

    kinds = [name for name, kind in POTENTIALS.items() if kind.computes_with]
    engines = [name for name, engine in ENGINES.items() if engine.computes_with]
    return ", ".join([*kinds, *(f"engine {name}" for name in engines)])


def require_device(spec: Mapping[str, Any], engine: str | None = None) -> None:
    """Check, before anything is computed, whether a potential can use the requested device.

    Environments that the user's own ``machine.toml`` names are known from then on.

    Raises
    ------
    SettingsError
        When the potential cannot use it.
    """
    from ilforge import potentials
    from ilforge.dynamics import ENGINES
    from ilforge.study.machine import load_machine

    kind = potentials.POTENTIALS[spec["kind"]]
    if kind.environment is not None:
        machine_programs.use(replace(machine_programs.chosen(), environments=load_machine().environments))
    own = ENGINES[engine].computes_with if engine is not None and engine in ENGINES else None
    program = own or kind.computes_with
    if program is not None:
        devices.resolved(program)
    elif devices.gpu_wanted():
        known = ", ".join(name for name, kind in potentials.POTENTIALS.items() if kind.computes_with)
        raise SettingsError(f"--device: {spec['kind']} computes on the CPU only. These can use a GPU: {known}.")

"""Keys of the density functional programs, as tables of `[reference]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ilforge.study.base import Positive, Settings

Iterations = Annotated[int, Field(ge=1)]


class GpawSettings(Settings):
    """GPAW, for `kind = "gpaw"`: plane waves and PAW at the gamma point. Found as `gpaw` on PATH."""

    functional: Literal["PBE", "revPBE"] = "PBE"
    """Density functional."""
    dispersion: Literal["D3(BJ)", "none"] = "D3(BJ)"
    """Dispersion correction."""
    cutoff_eV: Annotated[float, Field(ge=600)] = 600.0
    """Cutoff of the plane waves, eV."""
    smearing_eV: Positive = 0.05
    """Width of the Fermi smearing, eV."""
    energy_tolerance_eV: Positive = 1e-5
    """Convergence of the energy, eV per valence electron."""
    density_tolerance: Positive = 1e-4
    """Convergence of the density, per valence electron."""
    max_iterations: Iterations = 150
    """Iterations before a frame counts as not converged."""
    stress: bool = False
    """Label stress too; needs `cutoff_eV` of at least 1200."""


class Cp2kSettings(Settings):
    """CP2K, for `kind = "cp2k"`: PBE, augmented plane waves (GAPW), GTH pseudopotentials, orbital transformation."""

    basis: Literal["DZVP", "TZV2P"] = "DZVP"
    """MOLOPT basis set; TZV2P has no B and no Li."""
    dispersion: Literal["D3(BJ)", "none"] = "D3(BJ)"
    """Dispersion correction."""
    cutoff_Ry: Annotated[float, Field(ge=300)] = 400.0
    """Cutoff of the grid, Ry."""
    scf_tolerance: Positive = 1e-7
    """Convergence of the wavefunctions (EPS_SCF)."""
    max_iterations: Iterations = 12
    """Iterations between two restarts of self-consistency."""
    max_restarts: Iterations = 20
    """Restarts before a frame counts as not converged."""
    stress: bool = True
    """Label stress too."""
    command: str = "cp2k.psmp"
    """What runs CP2K, such as `mpirun -np 16 cp2k.psmp`. No part of the method."""


class VaspSettings(Settings):
    """VASP, for `kind = "vasp"`: plane waves and PAW at the gamma point, with the settings of the published study."""

    potentials_dir: str | None = None
    """Folder of your PAW potentials, with one folder and POTCAR for each, relative to the study file. Needed."""
    functional: Literal["PBE", "SCAN"] = "PBE"
    """Density functional."""
    dispersion: Literal["D3(BJ)", "D3(0)", "none"] = "D3(BJ)"
    """Dispersion correction; `D3(0)` with PBE only."""
    cutoff_eV: Positive = 450.0
    """ENCUT, eV."""
    energy_tolerance_eV: Positive = 1e-6
    """EDIFF, eV."""
    smearing_eV: Positive = 0.05
    """SIGMA, eV."""
    max_iterations: Iterations = 120
    """NELM."""
    command: str = "vasp_std"
    """What runs VASP in the current folder, such as `mpirun -np 16 vasp_gam`. No part of the method."""
    potential_names: dict[str, str] = {}
    """PAW potentials that are not called as their element, such as `{ Li = "Li_sv" }`, which is the default for Li."""
    stress: bool = False
    """Label stress too; needs `cutoff_eV` of at least 700."""

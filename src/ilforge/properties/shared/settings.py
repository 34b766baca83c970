"""Settings of properties of a whole liquid: parts of ``[analysis]`` in the study file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ilforge.settings import Positive, Settings


class DensitySettings(Settings):
    """Mean density of an NPT run."""

    min_independent_samples: Annotated[float, Field(ge=2)] = 20.0
    """With fewer independent samples, the density has not converged."""


class DiffusionSettings(Settings):
    """Self-diffusion of each ion from its mean squared displacement."""

    min_slope: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Ions are diffusive if d ln MSD / d ln t reaches this within its error."""
    max_lag_fraction: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    """Longest lag time used, as a share of the run."""
    min_displacement_A: Annotated[float, Field(ge=0)] = 3.0
    """Smallest root mean square displacement within the longest lag, Å; below it ions only rattle."""
    viscosity_Pa_s: Positive | None = None
    """Viscosity of the same model in Pa s. With it, diffusion is also given for an infinite system (Yeh-Hummer)."""
    viscosity_error_Pa_s: Annotated[float, Field(ge=0)] = 0.0
    """Standard error of that viscosity, Pa s; it is part of the error of the corrected diffusion."""


class RdfSettings(Settings):
    """Radial distribution functions between sites of different molecules."""

    pairs: list[tuple[str, str]] | None = None
    """Pairs of sites: the name of an ion for its centre of mass (`PYR14`), an element in any ion (`B`), or an
    element or atom name in one ion (`N:PYR14`, `O1:TFSI`). Default: the centres of every pair of ions."""
    r_max_A: Positive | None = None
    """Largest distance, Å, at most half the shortest box height. Default: half the shortest box height."""
    bin_A: Positive = 0.1
    """Width of a bin, Å."""
    min_independent_samples: Annotated[float, Field(ge=2)] = 20.0
    """With fewer independent samples of the first shell, its numbers have not converged."""


class ConductivitySettings(Settings):
    """Ionic conductivity and Onsager coefficients from the displacement of all charge."""

    min_slope: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """A kind of ion is diffusive if d ln MSD / d ln t reaches this within its error; all kinds must be."""
    max_lag_fraction: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    """Longest lag time used, as a share of the run."""
    min_displacement_A: Annotated[float, Field(ge=0)] = 3.0
    """Smallest root mean square displacement within the longest lag, Å; below it ions only rattle."""


class ViscositySettings(Settings):
    """Shear viscosity by the Green-Kubo relation, from a table of the pressure tensor beside the trajectory."""

    max_relative_error: Annotated[float, Field(gt=0, le=0.5)] = 0.5
    """If the standard error is a larger share of the value, the viscosity has not converged."""


class StructureFactorSettings(Settings):
    """Static structure factor S(q) on the wave vectors that fit the box."""

    q_max_per_A: Annotated[float, Field(gt=0, le=50)] = 6.0
    """Largest q, 1/Å."""
    bin_per_A: Annotated[float, Field(gt=0)] = 0.05
    """Width of a bin of q, 1/Å."""
    max_vectors: Annotated[int, Field(ge=10)] = 2000
    """Largest number of wave vectors, drawn evenly over the bins; if there are fewer, all are used."""
    max_frames: Annotated[int, Field(ge=1)] = 500
    """Largest number of frames, spread evenly over the run."""
    min_independent_samples: Annotated[float, Field(ge=2)] = 20.0
    """With fewer independent samples of the main peak, its position has not converged."""


class HealthSettings(Settings):
    """Limits beyond which a trajectory is unphysical."""

    bond_factor: Annotated[float, Field(ge=1.0, le=2.0)] = 1.4
    """A bond is broken if it is longer than this factor times the sum of covalent radii."""
    max_cavity_radius_A: Positive = 4.0
    """Largest allowed radius of a sphere between the van der Waals surfaces of atoms; a larger void is a cavity, Å."""
    max_empty_fraction: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Largest allowed share of the box farther than 2.5 Å from any van der Waals surface; above it the ions have
    collapsed."""
    min_density_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.7
    """A liquid has boiled if the density of the last quarter of the run is below this share of the initial one."""
    max_density_ratio: Annotated[float, Field(gt=1)] = 1.4
    """A liquid has collapsed if the density of the last quarter is above this multiple of the initial one."""
    min_independent_samples: Annotated[float, Field(ge=2)] = 10.0
    """With fewer independent samples of the density, ilforge does not judge whether the run holds the liquid."""
    max_temperature_drift_K: Positive = 50.0
    """Largest allowed difference of the mean temperature from the set one, K."""
    max_drude_temperature_K: Positive = 3.0
    """Largest allowed temperature of Drude particles (CL&Pol), K; warmer particles do not follow the field."""
    max_energy_drift_eV: Positive = 0.05
    """Largest allowed change of the mean potential energy per atom from the first to the last third of a run, eV."""

"""Settings of properties of a whole liquid: parts of ``[analysis]`` in the study file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ilforge.settings import Positive, Settings


class DensitySettings(Settings):
    """Mean density of an NPT run."""

    min_independent_samples: Annotated[float, Field(ge=2)] = 20.0
    """Fewer independent samples than this, and the density is not reported as converged."""


class DiffusionSettings(Settings):
    """Self-diffusion of each ion from its mean squared displacement."""

    min_slope: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """d ln MSD / d ln t must reach this within its error, or the ions are not diffusive."""
    max_lag_fraction: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    """Longest lag time used, as a share of the run."""
    min_displacement_A: Annotated[float, Field(ge=0)] = 3.0
    """Root mean square distance in Å that ions must have moved within the longest lag: below it they rattle."""
    viscosity_Pa_s: Positive | None = None
    """Viscosity of the same model in Pa s: with it diffusion is also given for an infinite system (Yeh-Hummer)."""
    viscosity_error_Pa_s: Annotated[float, Field(ge=0)] = 0.0
    """Standard error of that viscosity, Pa s; it enters the error of the corrected diffusion."""


class RdfSettings(Settings):
    """Radial distribution functions between sites of different molecules."""

    pairs: list[tuple[str, str]] | None = None
    """Pairs of sites: the name of an ion for its centre of mass (`PYR14`), an element in any ion (`B`), or an
    element or atom name in one ion (`N:PYR14`, `O1:TFSI`). Without it the centres of every pair of ions."""
    r_max_A: Positive | None = None
    """Largest distance, Å, at most half the shortest box height; without it just that."""
    bin_A: Positive = 0.1
    """Width of a bin, Å."""
    min_independent_samples: Annotated[float, Field(ge=2)] = 20.0
    """Fewer independent samples of the first shell than this, and its numbers are not reported as converged."""


class ConductivitySettings(Settings):
    """Ionic conductivity and Onsager coefficients from the displacement of the charge as a whole."""

    min_slope: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """d ln MSD / d ln t of every kind of ion must reach this within its error, or the ions are not diffusive."""
    max_lag_fraction: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    """Longest lag time used, as a share of the run."""
    min_displacement_A: Annotated[float, Field(ge=0)] = 3.0
    """Root mean square distance in Å that ions must have moved within the longest lag: below it they rattle."""


class ViscositySettings(Settings):
    """Shear viscosity by the Green-Kubo relation, from a table of the pressure tensor beside the trajectory."""

    max_relative_error: Annotated[float, Field(gt=0, le=0.5)] = 0.5
    """A larger share of the value as its standard error, and the viscosity is not reported as converged."""


class StructureFactorSettings(Settings):
    """Static structure factor S(q) on the wave vectors that fit the box."""

    q_max_per_A: Annotated[float, Field(gt=0, le=50)] = 6.0
    """Largest q, 1/Å."""
    bin_per_A: Annotated[float, Field(gt=0)] = 0.05
    """Width of a bin of q, 1/Å."""
    max_vectors: Annotated[int, Field(ge=10)] = 2000
    """At most so many wave vectors, drawn evenly over the bins; all of them where there are fewer."""
    max_frames: Annotated[int, Field(ge=1)] = 500
    """At most so many frames, evenly spread over the run."""
    min_independent_samples: Annotated[float, Field(ge=2)] = 20.0
    """Fewer independent samples of the main peak than this, and its position is not reported as converged."""


class HealthSettings(Settings):
    """When a trajectory counts as unphysical."""

    bond_factor: Annotated[float, Field(ge=1.0, le=2.0)] = 1.4
    """A bond is broken beyond this factor times the sum of covalent radii."""
    max_cavity_radius_A: Positive = 4.0
    """A void whose sphere between the van der Waals surfaces of atoms has a larger radius is a cavity, Å."""
    max_empty_fraction: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Share of the box farther than 2.5 Å from any van der Waals surface; more, and the ions have collapsed."""
    min_density_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.7
    """A run whose last quarter has less than this share of the density of its start has boiled."""
    max_density_ratio: Annotated[float, Field(gt=1)] = 1.4
    """One whose last quarter has more than this multiple of it has collapsed."""
    min_independent_samples: Annotated[float, Field(ge=2)] = 10.0
    """Fewer independent samples of the density than this, and whether the run holds the liquid is not judged."""
    max_temperature_drift_K: Positive = 50.0
    """Larger difference of mean temperature from the set one is a fault, K."""
    max_drude_temperature_K: Positive = 3.0
    """Warmer Drude particles (CL&Pol) no longer follow the field and are a fault, K."""
    max_energy_drift_eV: Positive = 0.05
    """Larger change of the mean potential energy per atom from the first to the last third of a run is a fault, eV."""

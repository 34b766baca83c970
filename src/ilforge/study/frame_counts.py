"""The plan of a dataset: numbers of frames of each kind, and numbers of their starts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from ilforge.settings import Count, DensityRatios, Settings


class FrameCounts(Settings):
    """Numbers of frames of each kind, and of their independent starts, for each composition.

    Every sampled frame is a start. It is labelled as a single point, or it begins a short AIMD run with the reference
    method, and each frame of that run is a label.
    """

    eq_boxes: Count
    """Packed boxes in which EQ runs start, spread evenly over the density ratios."""
    eq_frames_per_box: Count
    """EQ starts taken from each of these runs."""
    packed: Count
    """nEQ structures directly from PACKMOL, after `packed_steps` steps of minimisation."""
    hot_boxes: Count
    """Packed boxes in which hot runs with a large time step start."""
    hot_frames_per_box: Count
    """nEQ-molecule frames taken from each of these hot runs."""
    distorted: Count = 0
    """nEQ-molecule frames with noise on bonds, angles and torsions, each from another packed box."""
    intermolecular: Count = 0
    """nEQ frames of rigid molecules that are spread, pulled apart or placed around a cavity.
    `intermolecular_candidates` times as many are made, and the most diverse are taken. Models
    learn the cohesion of the liquid from them."""
    intermolecular_boxes: Annotated[int, Field(ge=1)] = 5
    """Packed boxes, with one run each, from which intermolecular frames are made."""
    density_ratios: DensityRatios | None = None
    """Box densities of this set relative to `liquid.density_g_cm3`. Default: `sampling.density_ratios`."""
    eq_aimd_runs: Count = 0
    """EQ starts that begin an AIMD run, spread evenly over the boxes; the others are single points."""
    eq_aimd_frames: Annotated[int, Field(ge=2)] = 100
    """Labelled frames of each of these runs, including the start."""
    neq_aimd_runs: Count = 0
    """nEQ starts that begin an AIMD run; the others are single points."""
    neq_aimd_frames: Annotated[int, Field(ge=2)] = 2
    """Labelled frames of each of these runs, including the start."""

    @property
    def eq_starts(self) -> int:
        """Number of sampled EQ frames."""
        return self.eq_boxes * self.eq_frames_per_box

    @property
    def neq_starts(self) -> int:
        """Number of sampled nEQ frames."""
        return self.packed + self.hot_boxes * self.hot_frames_per_box + self.distorted + self.intermolecular

    @property
    def eq_aimd(self) -> int:
        """Number of EQ frames labelled by AIMD."""
        return self.eq_aimd_runs * self.eq_aimd_frames

    @property
    def neq_aimd(self) -> int:
        """Number of nEQ frames labelled by AIMD."""
        return self.neq_aimd_runs * self.neq_aimd_frames

    @property
    def eq_single_points(self) -> int:
        """Number of EQ starts labelled as single points."""
        return self.eq_starts - self.eq_aimd_runs

    @property
    def neq_single_points(self) -> int:
        """Number of nEQ starts labelled as single points."""
        return self.neq_starts - self.neq_aimd_runs

    @property
    def single_points(self) -> int:
        """Number of starts labelled as single points, of both kinds."""
        return self.eq_single_points + self.neq_single_points

    @property
    def aimd(self) -> int:
        """Number of frames labelled by AIMD, of both kinds."""
        return self.eq_aimd + self.neq_aimd

    @property
    def labels(self) -> int:
        """Total number of labelled frames."""
        return self.single_points + self.aimd

    @model_validator(mode="after")
    def _enough_starts(self) -> FrameCounts:
        for kind in ("eq", "neq"):
            runs, starts = getattr(self, f"{kind}_aimd_runs"), getattr(self, f"{kind}_starts")
            if runs > starts:
                raise ValueError(f"{kind}_aimd_runs is {runs}, but there are only {starts} starts of this kind")
        return self

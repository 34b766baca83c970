"""The plan of a dataset: numbers of frames of each kind, and numbers of their starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, create_model, model_validator

from ilforge.sampling.registry import SAMPLERS, keys_of_all
from ilforge.settings import Count, DensityRatios, Settings


class _FrameCounts(Settings):
    """Numbers of frames of each kind, and of their independent starts, for each composition.

    Every sampled frame is a start. It is labelled as a single point, or it begins a short AIMD run with the reference
    method, and each frame of that run is a label.
    """

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
        return self._starts("EQ")

    @property
    def neq_starts(self) -> int:
        """Number of sampled nEQ frames."""
        return self._starts("nEQ")

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

    def _starts(self, frame_kind: str) -> int:
        return sum(kind.frames_of(self) for kind in SAMPLERS.values() if kind.frame_kind == frame_kind)

    @model_validator(mode="after")
    def _enough_starts(self) -> _FrameCounts:
        for kind in ("eq", "neq"):
            runs, starts = getattr(self, f"{kind}_aimd_runs"), getattr(self, f"{kind}_starts")
            if runs > starts:
                raise ValueError(
                    f"{kind}_aimd_runs is {runs}, but there are only {starts} starts of this kind: lower it, or raise "
                    "the number of starts"
                )
        return self


if TYPE_CHECKING:

    class FrameCounts(_FrameCounts):
        """For type checkers only: the keys of samplers are known at run time."""

        def __init__(self, *, density_ratios: DensityRatios | None = ..., **keys: Any) -> None: ...

else:
    FrameCounts = create_model(
        "FrameCounts",
        __base__=(_FrameCounts, *keys_of_all("counts", _FrameCounts)),
        __module__=__name__,
        __doc__=_FrameCounts.__doc__,
    )
    """``sampling.training`` and ``sampling.validation``: the count keys of all samplers, densities and AIMD."""

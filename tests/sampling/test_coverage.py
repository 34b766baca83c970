"""How widely frames cover internal coordinates: on samples whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from ilforge.liquid.liquid import Liquid
from ilforge.sampling.coverage import coverage

LIQUID = Liquid.of({"PYR14": 2, "BF4": 2})
START = np.concatenate([ion.positions + 20.0 * k for k, (ion, n) in enumerate(LIQUID.ions) for _ in range(n)])


def vibrating(width, kind, n, seed, parents=10):
    """Frames whose atoms are displaced by normal noise of this width, Å."""
    rng = np.random.default_rng(seed)
    return [
        Atoms(
            LIQUID.topology.symbols,
            positions=START + width * rng.normal(size=START.shape),
            info={"kind": kind, "recipe": "x", "parent": f"{kind}-{i % parents}"},
        )
        for i in range(n)
    ]


def test_twice_the_noise_is_twice_the_spread_and_reaches_further():
    groups = {"EQ/a": vibrating(0.01, "EQ", 120, 1), "nEQ/b": vibrating(0.02, "nEQ", 60, 2)}
    found = coverage(groups, LIQUID.topology)
    for kind in ("bonds", "angles"):
        value, error = found["nEQ/b"][kind]["spread"]
        assert value == pytest.approx(2.0, abs=max(0.1, 4 * error)) and 0 < error < 0.1
        assert found["nEQ/b"][kind]["reached"][0] > 1.3
        assert 0.05 < found["nEQ/b"][kind]["beyond"][0] < 0.9
        assert found["nEQ/b"][kind]["parents"] == 10
    assert found["nEQ/b"]["torsions"]["spread"] == [None, None]
    assert found["nEQ/b"]["torsions"]["reached"][0] > 1.2


def test_frames_like_those_at_equilibrium_cover_just_as_much():
    """However many there are of each: a histogram of more frames has more bins, and that is not counted."""
    for n in (30, 120, 480):
        groups = {"EQ/a": vibrating(0.01, "EQ", 120, 1), "nEQ/b": vibrating(0.01, "nEQ", n, 2)}
        found = coverage(groups, LIQUID.topology)["nEQ/b"]
        for kind in ("bonds", "angles", "torsions"):
            assert found[kind]["reached"][0] == pytest.approx(1.0, abs=0.05)
            assert found[kind]["beyond"][0] < 0.02
        assert found["bonds"]["spread"][0] == pytest.approx(1.0, abs=0.05)


def test_the_histogram_is_a_density_about_the_mean_of_equilibrium():
    found = coverage({"EQ/a": vibrating(0.01, "EQ", 200, 1)}, LIQUID.topology)["EQ/a"]["bonds"]
    centres, density = (np.array(found["histogram"][key]) for key in ("centres", "density"))
    width = centres[1] - centres[0]
    assert np.sum(density) * width == pytest.approx(1.0, abs=1e-6)
    assert np.sum(density * centres) * width == pytest.approx(0.0, abs=1e-4)
    # a bond between two atoms with independent noise
    assert np.sqrt(np.sum(density * centres**2) * width) == pytest.approx(0.01 * np.sqrt(2), rel=0.06)
    assert found["spread"][0] == pytest.approx(1.0)


def test_without_equilibrium_there_is_nothing_to_compare_with():
    assert coverage({"nEQ/b": vibrating(0.01, "nEQ", 5, 1)}, LIQUID.topology) == {}

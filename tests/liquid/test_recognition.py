"""Molecules told apart by elements and bonds."""

import numpy as np
import pytest

from ilforge.liquid.ions import CATALOGUE, get_ion
from ilforge.liquid.recognition import BondGraph, bond_graphs, bond_pattern, catalogue_ion, same_order
from ilforge.liquid.settings import IonSettings


def graph_of(ion):
    return BondGraph.of(ion.symbols, ion.bonds)


def shuffled(graph, rng):
    return graph.reordered(rng.permutation(len(graph.symbols)).tolist())


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_ion_of_the_catalogue_is_known_in_any_order_of_its_atoms(name):
    other = shuffled(graph_of(get_ion(name)), np.random.default_rng(1))
    assert catalogue_ion(other).name == name


def test_isomers_are_no_ion_of_the_catalogue():
    """1-ethyl-1-propylpyrrolidinium has the atoms of PYR14."""
    isomer = get_ion("PYR23", {"PYR23": IonSettings(smiles="CC[N+]1(CCC)CCCC1")})
    assert sorted(isomer.symbols) == sorted(get_ion("PYR14").symbols)
    assert catalogue_ion(graph_of(isomer)) is None
    assert bond_pattern(graph_of(isomer)) != bond_pattern(graph_of(get_ion("PYR14")))
    assert same_order(graph_of(get_ion("PYR14")), graph_of(isomer)) is None


@pytest.mark.parametrize("name", ["TFSI", "PYR14", "OMIM", "Li"])
def test_atoms_are_brought_into_one_order(name):
    graph, rng = graph_of(get_ion(name)), np.random.default_rng(2)
    other = shuffled(graph, rng)
    order = same_order(graph, other)
    assert sorted(order) == list(range(len(graph.symbols))) and other.reordered(order) == graph


def test_graphs_of_a_box():
    from ilforge.liquid.liquid import Liquid

    found = bond_graphs(Liquid.of({"Li": 1, "PYR14": 2, "TFSI": 3}).topology)
    assert found == [graph_of(get_ion(name)) for name in ("Li", "PYR14", "PYR14", "TFSI", "TFSI", "TFSI")]

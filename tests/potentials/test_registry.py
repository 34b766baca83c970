"""Making potentials from what a study file says."""

from __future__ import annotations

import pytest

from ilforge.errors import SettingsError
from ilforge.potentials import create, digest
from ilforge.potentials.classical.clp import Clp
from ilforge.potentials.learned.committee import Committee
from ilforge.potentials.quantum.xtb import Xtb


def test_create_makes_the_class_of_the_kind():
    assert create({"kind": "clp", "cutoff_A": 4.0}) == Clp(4.0)
    assert create({"kind": "xtb", "method": "GFN2-xTB"}) == Xtb("GFN2-xTB")
    assert create({"kind": "committee", "members": [{"kind": "clp"}, {"kind": "xtb"}]}) == Committee((Clp(), Xtb()))


@pytest.mark.parametrize(
    "spec,message",
    [
        (
            {},
            "None is not a kind of potential. Known: clp, clpol, exp6, xtb, .*, pyscf, sevennet, chgnet, so3lr, "
            "nequip, uf3, mace, deepmd",
        ),
        ({"kind": "dft"}, "'dft' is not a kind of potential"),
        ({"kind": "clp", "cutoff": 4.0}, "'clp' has no cutoff; it has cutoff_A"),
        ({"kind": "mace"}, "'mace' needs path"),
        ({"kind": "committee", "members": [{"kind": "clp"}]}, "two members or more; it has 1"),
        ({"kind": "xtb", "method": "GFN3-xTB"}, "'GFN3-xTB'; it may be 'GFN1-xTB' or 'GFN2-xTB'"),
        ({"kind": "clp", "cutoff_A": -1.0}, "cutoff_A is -1"),
    ],
)
def test_create_says_what_is_wrong(spec, message):
    with pytest.raises(SettingsError, match=message):
        create(spec)


def test_digest_follows_what_changes_numbers():
    specs = [{"kind": "clp"}, {"kind": "clp", "cutoff_A": 4.0}, {"kind": "xtb"}, {"kind": "xtb", "method": "GFN2-xTB"}]
    assert len({digest(create(spec)) for spec in specs}) == len(specs)
    assert digest(create({"kind": "clp", "cutoff_A": 10})) == digest(create({"kind": "clp", "cutoff_A": 10.0}))

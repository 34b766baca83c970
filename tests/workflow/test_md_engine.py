"""The engine that a protocol asks for reaches its stages, and changes nothing where none is asked for."""

from __future__ import annotations

from ilforge.study.load import load_study
from ilforge.workflow.plan import make_plan
from support.studies import smallest


def md_stages(folder, **change):
    path = smallest(folder)
    for old, new in change.items():
        path.write_text(path.read_text().replace(f'name = "{old}"\n', f'name = "{old}"\n{new}\n', 1))
    return {stage.name: stage for stage in make_plan(load_study(path)).stages if stage.kind == "md"}


def test_the_engine_of_a_protocol_is_part_of_its_stages(tmp_path):
    usual, asked = md_stages(tmp_path), md_stages(tmp_path, npt='engine = "gromacs"')
    name = "MD npt with clp"
    assert "engine" not in usual[name].settings and usual[name].programs == ()
    assert asked[name].settings["engine"] == "gromacs" and asked[name].programs == ("gmx",)
    assert asked[name].key != usual[name].key
    assert asked["MD nvt with clp"].key == usual["MD nvt with clp"].key
    assert asked["MD nvt with deepmd"].programs == ("lmp",)

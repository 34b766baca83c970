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


def test_longer_steps_and_choices_are_part_of_the_stages_that_make_them(tmp_path):
    choices = 'thermostat = "nose-hoover"\nhydrogen_mass_amu = 3.0\ninner_potential = "INNER"\ninner_steps = 4'
    path = smallest(tmp_path)
    plain = path.read_text().replace('potentials = ["clp", "deepmd", "mace"]', 'potentials = ["mace"]')
    found = {}
    for inner in (None, "clp", "deepmd"):
        added = choices.replace("INNER", inner) if inner else ""
        path.write_text(plain.replace('name = "nvt"\n', f'name = "nvt"\n{added}\n'))
        stages = make_plan(load_study(path)).stages
        found[inner] = next(stage for stage in stages if stage.name == "MD nvt with mace")
    protocol = found["clp"].settings["protocol"]
    assert (protocol["thermostat"], protocol["hydrogen_mass_amu"], protocol["inner_steps"]) == ("nose-hoover", 3.0, 4)
    assert not {"thermostat", "barostat", "hydrogen_mass_amu", "inner_steps"} & set(found[None].settings["protocol"])
    assert found["clp"].settings["inner"]["kind"] == "clp" and "inner" not in found[None].settings
    assert found["deepmd"].inputs["inner"].kind == "deepmd"
    assert len({stage.key for stage in found.values()}) == 3

"""What all tests share: small boxes, small real models, and what happens when a program is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from ilforge import devices, environments, frames, machine_programs, programs
from ilforge.errors import MissingProgram
from ilforge.liquid.liquid import Liquid
from support import models

DATA = Path(__file__).parent / "data"


def pytest_collection_modifyitems(items):
    """Mark tests whose program or environment does not come with ``make setup`` as ``outside``."""
    for item in items:
        needed = [marker.args[0] for marker in item.iter_markers("program")]
        apart = [name for name in needed if not programs.PACKAGES.get(name, "").startswith("pip install")]
        if apart or any(item.iter_markers("environment")):
            item.add_marker(pytest.mark.outside)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Skip tests whose program or environment is missing, saying which and how to get it."""
    for name, find in (("program", programs.find), ("environment", environments.interpreter)):
        for marker in item.iter_markers(name):
            try:
                find(marker.args[0])
            except MissingProgram as error:
                pytest.skip(str(error))


@pytest.fixture(autouse=True, scope="session")
def users_folder(tmp_path_factory):
    """Tests have a user's folder, with the key that results are signed with, of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


@pytest.fixture(autouse=True)
def machine_as_before():
    """The device and the commands of programs that a test chooses for the process hold for this test alone."""
    device, commands = devices.chosen(), machine_programs.chosen()
    yield
    devices.use(device)
    machine_programs.use(commands)


@pytest.fixture
def one_pair():
    """One PYR14+ and one BF4- in a box of 8.5 Å, 35 atoms, away from any minimum."""
    return frames.read(DATA / "one_pair.xyz")[0]


@pytest.fixture
def two_pairs():
    """Two PYR14+ and two BF4- in a box of 9.5 Å, 70 atoms, away from any minimum."""
    return frames.read(DATA / "two_pairs.xyz")[0]


@pytest.fixture(scope="session")
def topology_of():
    """Topology of a frame, by what its ``ions`` say."""
    return lambda frame: Liquid.from_label(frame.info["ions"]).topology


@pytest.fixture(scope="session")
def tiny_mace_model(tmp_path_factory):
    """File of a MACE model with random weights that knows the elements of PYR14BF4; cutoff 4.5 Å."""
    return models.write_mace_model(tmp_path_factory.mktemp("mace") / "tiny.model")


@pytest.fixture(scope="session")
def tiny_deepmd_models(tmp_path_factory):
    """Files of two DeePMD models that differ in their seeds, hardly trained; cutoff 4.5 Å."""
    programs.find("dp")
    frame = frames.read(DATA / "one_pair.xyz")[0]
    return models.write_deepmd_models(tmp_path_factory.mktemp("deepmd"), models.labelled(frame, 3), seeds=(1, 2))


@pytest.fixture(scope="session")
def tiny_nequip_models(tmp_path_factory):
    """Files of a NequIP model in single and an Allegro model in double precision, hardly trained; cutoff 3.5 Å."""
    environments.interpreter("nequip")
    labelled = models.labelled(frames.read(DATA / "one_pair.xyz")[0], 3)
    return {
        name: models.write_nequip_model(tmp_path_factory.mktemp(name), labelled, architecture=name, dtype=dtype)
        for name, dtype in (("nequip", "float32"), ("allegro", "float64"))
    }


@pytest.fixture(scope="session")
def tiny_uf3_model(tmp_path_factory):
    """File of a UF3 potential of pairs within 4 Å and triangles within 2.5 Å, fitted to two frames of PYR14BF4."""
    environments.interpreter("uf3")
    labelled = models.labelled(frames.read(DATA / "one_pair.xyz")[0], 3)
    return models.write_uf3_model(tmp_path_factory.mktemp("uf3"), labelled)


@pytest.fixture(scope="session")
def tiny_deepmd_model(tiny_deepmd_models):
    """File of one of these."""
    return tiny_deepmd_models[0]

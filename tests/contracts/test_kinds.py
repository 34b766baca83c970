"""A kind is described once: no other file of ilforge names it, but for what is listed here with its reason."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from ilforge.dynamics import ENGINES
from ilforge.potentials import POTENTIALS
from ilforge.properties.registry import PROPERTIES
from ilforge.sampling.registry import SAMPLERS
from ilforge.training import TRAINERS

SOURCE = Path(__file__).parents[2] / "src" / "ilforge"
REGISTRIES = {
    "potentials/__init__.py", "training/__init__.py", "dynamics/__init__.py", "properties/registry.py",
    "sampling/registry.py",
}  # fmt: skip
ALLOWED = {
    "api.py": {"mace", "deepmd", "clp", "sevennet"},  # a default, and examples
    "machine_programs.py": {"cp2k", "gpaw"},  # commands of programs
    "study/machine.py": {"gpaw"},  # a command of a program
    "workflow/executors/executor.py": {"mace"},  # a package whose warning is silenced
    "potentials/quantum/costs.py": {"gpaw", "cp2k"},  # what labels cost by methods that were measured
    "cli/export.py": {"clp"},  # written out where nothing else is named
    "cli/labels.py": {"deepmd"},  # a file format of that name
    "dynamics/lammps/program.py": {"deepmd"},  # the program whose device LAMMPS computes on
    "potentials/learned/committee.py": {"deepmd"},  # the pair style of LAMMPS that takes several models
    "potentials/quantum/gpaw/__init__.py": {"vasp"},  # words of an error: who has what it lacks
    "study/md_settings.py": {"clp", "exp6"},  # words for files of an earlier version
    "dpgen/exploring.py": {"deepmd"},  # DP-GEN knows no other model
    "dpgen/machine.py": {"cp2k", "vasp"},  # words of DP-GEN's fp_style, as in the next
    "dpgen/reference.py": {"cp2k", "vasp"},
    "dpgen/study.py": {"clp", "mace", "deepmd"},  # the study file that is written
    "dpgen/training.py": {"committee"},  # a key
    "workflow/steps/learning.py": {"committee"},  # of models, whatever their kind
    "workflow/steps/models.py": {"committee"},  # a key
    "training/kind.py": {"committee"},  # a key
    "study/names.py": {"mace", "deepmd"},  # trained where a study names no model
    "study/document.py": {"clp", "clpol", "gpaw", "cp2k", "mace", "deepmd"},  # the study file that init writes
    "study/settings.py": {"clp", "gpaw", "cp2k", "vasp", "mace", "deepmd"},  # a default, and words for earlier files
    "properties/analysis.py": {"density", "diffusion", "rdf", "health"},  # measured where nothing else is named
    "cli/single.py": {"mace"},  # trained where nothing else is named
    "labelling/reading/tight_binding_check.py": {"xtb"},  # it is what the check computes with
}
PROGRAMS = {
    "devices.py",  # programs that can use a GPU are called like some kinds
    "programs.py",  # as are executables and packages
}


def own_files(name: str) -> set[str]:
    """Files that belong to a kind: those in its folder, or with its name in front."""
    found = [path.relative_to(SOURCE) for path in SOURCE.rglob("*.py")]
    return {
        str(path)
        for path in found
        if any(re.match(rf"{name}(_|$)|fast_{name}", part) for part in path.with_suffix("").parts)
    }


@pytest.mark.parametrize("registry", [POTENTIALS, TRAINERS], ids=lambda registry: registry.what)
def test_no_other_file_names_a_kind(registry):
    named: dict[str, set[str]] = {}
    for path in SOURCE.rglob("*.py"):
        where = str(path.relative_to(SOURCE))
        if where in REGISTRIES | PROGRAMS:
            continue
        for name in registry:
            if re.search(rf"""["']{name}["']""", path.read_text()) and where not in own_files(name):
                named.setdefault(where, set()).add(name)
    surprising = {where: names - ALLOWED.get(where, set()) for where, names in named.items()}
    assert {where: names for where, names in surprising.items() if names} == {}


@pytest.mark.parametrize(
    "registry", [POTENTIALS, TRAINERS, ENGINES, PROPERTIES, SAMPLERS], ids=lambda registry: registry.what
)
def test_a_kind_is_named_as_its_registry_names_it(registry):
    for name, kind in registry.items():
        assert kind.name == name and kind.title and type(kind).__doc__


def test_keys_of_a_sampler_stand_in_its_own_file_and_where_the_study_file_has_defaults():
    """A new sampler brings its keys along: nothing else counts its frames or reads its settings."""
    allowed = {
        "study/settings.py",
        "study/document.py",
    }  # default numbers of frames, and the study file that init writes
    for name, kind in SAMPLERS.items():
        own = Path(importlib.import_module(kind.draw.__module__).__file__).relative_to(SOURCE)
        for key in {*kind.counts.model_fields, *kind.settings.model_fields} - set(SAMPLERS):
            files = {str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if key in path.read_text()}
            users = {"sampling/distorted.py"} if key in SAMPLERS["distorted"].uses else set()
            assert files <= {str(own), *allowed, *users}, (name, key)

"""Small studies, real in every step, that end in a minute or two."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ilforge.study.load import load_study
from ilforge.workflow.executors import Executors, LocalExecutor
from ilforge.workflow.plan import make_plan
from ilforge.workflow.progress import Watch
from ilforge.workflow.scheduler import Outcome, run_stages
from ilforge.workflow.stage import Stage
from ilforge.workflow.store import ResultStore

ONE_PAIR = """
seed = 3

[liquid]
ions = { PYR14 = 1, BF4 = 1 }
density_g_cm3 = 0.6

[potentials.clp]
cutoff_A = 4.0

[sampling]
potential = "clp"
density_ratios = [0.9, 1.0]
equilibration_ps = 0.2
interval_ps = 0.1
"""
"""A box of one ion pair, and how it is sampled; without numbers of frames."""

TAUGHT_BY_CLP = """\
training = { eq_boxes = 3, eq_frames_per_box = 3, packed = 3, hot_boxes = 0, hot_frames_per_box = 0 }
validation = { eq_boxes = 2, eq_frames_per_box = 1, packed = 2, hot_boxes = 0, hot_frames_per_box = 0 }

[reference]
potential = "clp"

"""
"""Few frames of this box, labelled by CL&P."""

_BEGIN = """
# One ion pair, a handful of frames, trainings of a few steps: every step of a study, nothing to learn from.
name = "smallest"
"""
SMALLEST = (
    f"{_BEGIN}{ONE_PAIR}"
    + """\
training = { eq_boxes = 3, eq_frames_per_box = 3, packed = 3, hot_boxes = 1, hot_frames_per_box = 2 }
validation = { eq_boxes = 2, eq_frames_per_box = 1, packed = 2, hot_boxes = 1, hot_frames_per_box = 1 }

[reference]
potential = "REFERENCE"

[models.mace]
hidden_irreps = "4x0e + 4x1o"
r_max_A = 3.5
epochs = 2
second_stage_epoch = 2

[models.deepmd]
committee = 2
embedding = [4, 8]
fitting = [10, 10]
r_cut_A = 4.0
steps = 40

[learning]
starts = 2
length_ps = 0.01
interval_ps = 0.002
deviation_low_eV_A = 0.0
deviation_high_eV_A = 50.0
max_candidates = 3

[[md]]
name = "nvt"
ensemble = "NVT"
potentials = ["clp", "deepmd", "mace"]
length_ps = 0.02
equilibration_ps = 0.0
interval_ps = 0.002

[[md]]
name = "npt"
ensemble = "NPT"
potentials = ["clp"]
length_ps = 0.1
equilibration_ps = 0.0
interval_ps = 0.01
"""
)

COMPOSITIONS = """
# Two compositions that train one model, AIMD and every recipe of nEQ frames: nothing to learn from.
name = "compositions"
seed = 3
[reference]
potential = "gfn1"
[liquid]
temperature_K = 400.0
[[liquid.compositions]]
name = "pure"
ions = { PYR14 = 1, BF4 = 1 }
density_g_cm3 = 0.6
[[liquid.compositions]]
name = "salt"
ions = { PYR14 = 1, LI = 1, BF4 = 2 }
density_g_cm3 = 0.6
[potentials.clp]
cutoff_A = 4.0

[sampling]
potential = "clp"
density_ratios = [0.9, 1.0]
equilibration_ps = 0.2
interval_ps = 0.1
hot_interval_ps = 0.02
[sampling.training]
eq_boxes = 3
eq_frames_per_box = 2
packed = 2
hot_boxes = 1
hot_frames_per_box = 2
distorted = 2
eq_aimd_runs = 2
eq_aimd_frames = 3
neq_aimd_runs = 1
[sampling.validation]
density_ratios = [0.8, 1.2]
eq_boxes = 2
eq_frames_per_box = 1
packed = 1
hot_boxes = 0
hot_frames_per_box = 0
distorted = 1
[models.mace]
hidden_irreps = "4x0e + 4x1o"
r_max_A = 3.5
epochs = 2
second_stage_epoch = 2
[models.deepmd]
committee = 2
embedding = [4, 8]
fitting = [10, 10]
r_cut_A = 4.0
steps = 40
[learning]
iterations = 1
starts = 1
length_ps = 0.01
interval_ps = 0.005
deviation_low_eV_A = 0.0
deviation_high_eV_A = 50.0
max_candidates = 2
[[md]]
name = "salt"
compositions = ["salt"]
ensemble = "NVT"
potentials = ["clp", "deepmd"]
length_ps = 0.02
equilibration_ps = 0.0
interval_ps = 0.002
"""


def compositions(folder: Path) -> Path:
    """Write the smallest study of several compositions into a folder."""
    path = folder / "compositions.toml"
    path.write_text(COMPOSITIONS)
    return path


def smallest(folder: Path, reference: str = "gfn1") -> Path:
    """Write the smallest study into a folder; its reference is ``"gfn1"``, or ``"clp"`` where truth is known."""
    text = SMALLEST.replace("REFERENCE", reference)
    path = folder / "smallest.toml"
    path.write_text(text)
    return path


def cold(folder: Path, reference: str = "gfn1") -> Path:
    """Write the smallest study without hot frames, which take most of the time of its sampling."""
    path = smallest(folder, reference)
    path.write_text(path.read_text().replace("hot_boxes = 1", "hot_boxes = 0"))
    return path


def quick(folder: Path) -> Path:
    """Write a study for half a minute: every step but DeePMD and concurrent learning, with CL&P as the truth."""
    text = SMALLEST.replace("REFERENCE", "clp")
    deepmd = text[text.index("[models.deepmd]") : text.index("[learning]")]
    for old, new in (
        (deepmd, ""),
        ('name = "smallest"', 'name = "quick"'),
        ("[learning]\n", "[learning]\niterations = 0\n"),
        ('["clp", "deepmd", "mace"]', '["clp", "mace"]'),
        ("hot_boxes = 1", "hot_boxes = 0"),
    ):
        assert old in text
        text = text.replace(old, new)
    path = folder / "quick.toml"
    path.write_text(text)
    return path


def of_models(folder: Path, name: str, models: str) -> Path:
    """Write a study of models that are trained on labels of CL&P, without concurrent learning.

    ``models`` are their tables and, before these, other tables of the study.
    """
    path = folder / f"{name}.toml"
    path.write_text(f'name = "{name}"\n{ONE_PAIR}{TAUGHT_BY_CLP}{models}[learning]\niterations = 0\n')
    return path


def hold_something(study: Path, root: Path) -> None:
    """Put one result of a study into a store: the box that MD starts from, of which a report shows nothing."""
    plan, store = make_plan(load_study(study)), ResultStore(root)
    stage = next(stage for stage in plan.stages if stage.kind == "start")
    store.prepare()
    store.open_scratch(stage)
    said = {"key": stage.key, "name": stage.name, "host": "h", "finished": "now", "wall_s": 1.0, "programs": {}}
    store.publish(stage, said)


def run(stages: Sequence[Stage], root: Path, workers: int = 1) -> tuple[ResultStore, Outcome]:
    """Make some stages in a store, by one worker or more."""
    store = ResultStore(root)
    store.prepare()
    watch = Watch(Console(file=io.StringIO()), store)
    try:
        with Executors({"local": LocalExecutor(workers)}) as executors:
            return store, run_stages(stages, store, executors, watch)
    finally:
        watch.stop()

"""What a record of a study says of the run that it is of."""

from __future__ import annotations

import json
from types import SimpleNamespace

from ilforge.study.load import load_study
from ilforge.workflow.plan import make_plan
from ilforge.workflow.records import collect_records
from support import studies

D = {"quantity": "self_diffusion", "species": "BF4", "value": 1e-11, "error": 1e-12, "n_eff": 30.0, "unit": "m^2/s",
     "converged": True, "note": ""}  # fmt: skip


def test_records_tell_ensemble_and_set_pressure(tmp_path):
    """As far as they tell runs apart: NVT has no set pressure, and a protocol's own goes before the liquid's."""
    path = studies.smallest(tmp_path)
    pressed = path.read_text().split("[[md]]\n")[2].replace('"npt"', '"pressed"') + "pressure_bar = 1000.0\n"
    path.write_text(f"{path.read_text()}\n[[md]]\n{pressed}")
    plan = make_plan(load_study(path))
    nothing = {"curves": {}, "verdicts": [], "tables": {}, "notes": [], "structures": {}, "liquid": None}
    (tmp_path / "measurement.json").write_text(json.dumps({"estimates": [D], **nothing}))
    measured = {id(stage) for stage in plan.analyses.values()}
    store = SimpleNamespace(holds=lambda stage: id(stage) in measured, path=lambda stage: tmp_path)
    found = {one.provenance["protocol"]: one.provenance for one in collect_records(plan, store)}
    said = {name: (of["ions"], of["ensemble"], of.get("pressure_bar")) for name, of in found.items()}
    ions = "1 PYR14, 1 BF4"
    assert said == {"nvt": (ions, "NVT", None), "npt": (ions, "NPT", 1.01325), "pressed": (ions, "NPT", 1000.0)}

"""From frames to labelled frames: the label store, the gate, datasets, and files of other programs."""

from ilforge.labelling.datasets.dataset import Dataset, census, require_labels, split
from ilforge.labelling.gate import judge, tally
from ilforge.labelling.label import evaluate
from ilforge.labelling.labels import Label, method_digest
from ilforge.labelling.storing.salvage import salvage
from ilforge.labelling.storing.store import LabelStore

__all__ = [
    "Dataset",
    "Label",
    "LabelStore",
    "census",
    "evaluate",
    "judge",
    "method_digest",
    "require_labels",
    "salvage",
    "split",
    "tally",
]

"""Report: everything a study found, on one page that opens anywhere."""

from ilforge.report.content import (
    ClusterPicture,
    Cost,
    Coverage,
    FrameRow,
    LearningRound,
    NamedCurve,
    NamedTable,
    Parity,
    ReportContent,
    StageRow,
    Structure,
    TrainingCurve,
    Verdict,
)
from ilforge.report.page import write_report
from ilforge.report.tables import key_numbers

__all__ = [
    "ClusterPicture",
    "Cost",
    "Coverage",
    "FrameRow",
    "LearningRound",
    "NamedCurve",
    "NamedTable",
    "Parity",
    "ReportContent",
    "StageRow",
    "Structure",
    "TrainingCurve",
    "Verdict",
    "key_numbers",
    "write_report",
]

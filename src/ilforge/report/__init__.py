"""Report: everything a study found, on one page that opens anywhere."""

from ilforge.report.content import (
    Cost,
    Coverage,
    FrameRow,
    LearningRound,
    NamedCurve,
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
    "Cost",
    "Coverage",
    "FrameRow",
    "LearningRound",
    "NamedCurve",
    "Parity",
    "ReportContent",
    "StageRow",
    "Structure",
    "TrainingCurve",
    "Verdict",
    "key_numbers",
    "write_report",
]

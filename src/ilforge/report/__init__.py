"""Report: all results of a study on one HTML page without external files."""

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
from ilforge.report.sections import palette_of_records
from ilforge.report.tables import key_numbers, summary, verdict_lines

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
    "palette_of_records",
    "summary",
    "verdict_lines",
    "write_report",
]

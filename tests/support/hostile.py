"""What somebody who means harm could put into a store."""

from __future__ import annotations

import os
from pathlib import Path

from ilforge import files
from ilforge.training.mace import MODEL as MACE_FILE
from ilforge.workflow.stage import Stage


class Evil:
    """A pickle that leaves a trace when it is loaded, as any model file could."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def evil_model(path: Path, trace: Path) -> None:
    import torch

    torch.save(Evil(trace), path)


def trained() -> Stage:
    """A result that holds a model file."""

    def work(job):
        files.write_bytes(job.directory / MACE_FILE, b"a model")

    return Stage("train", "mace", 1, {}, {}, work)

"""What tests of trainings share."""

from __future__ import annotations

import pytest

from ilforge.labelling.datasets.dataset import Dataset, split
from ilforge.labelling.label import forget
from support.labels import salt_frames


@pytest.fixture(autouse=True, scope="module")
def cold():
    """No loaded model, and no program in another environment, is left for the next file."""
    yield
    forget()


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Labelled boxes of a salt, few enough for a training of seconds."""
    return split(salt_frames(12), 0.2, seed=1)

"""Times that frames carry: rounding in single precision is no fault, a missing or doubled frame is one."""

import MDAnalysis
import numpy as np
import pytest

from ilforge.errors import SettingsError
from ilforge.properties.reading.frame_times import Clock

LATE = [(0.004, 700.0), (0.005, 600.0), (0.02, 5000.0), (0.1, 20000.0), (0.1, 100000.0), (0.2, 40000.0), (2.0, 1e6)]


def times(interval, start, n=400):
    """As XTC and TRR hold them: in single precision."""
    return (start + interval * np.arange(n)).astype(np.float32).astype(float)


def tick(found, interval=None):
    clock = Clock(found[1] - found[0] if interval is None else interval)
    for index, time in enumerate(found):
        clock.tick(index, float(time))


@pytest.mark.parametrize(("interval", "start"), LATE)
def test_late_frames_are_evenly_spaced_in_single_precision(interval, start):
    """Whether the interval is that of two such times or the true one."""
    found = times(interval, start)
    tick(found)
    tick(found, interval)


@pytest.mark.parametrize(("interval", "start"), [(2.0, 0.0), *LATE])
def test_a_missing_or_doubled_frame_is_found_however_late(interval, start):
    found = times(interval, start)
    for wrong in (np.delete(found, 200), np.insert(found, 200, found[200])):
        with pytest.raises(SettingsError, match=r"Frames (199 and 200|200 and 201) are .* apart.*missing or doubled"):
            tick(wrong)


def test_early_frames_may_be_a_hundredth_of_the_interval_off():
    tick([0.0, 1.0, 2.009, 3.0])
    with pytest.raises(SettingsError, match="Frames 1 and 2 are 1.02 ps apart"):
        tick([0.0, 1.0, 2.02, 3.0])


def test_a_trr_file_of_steps_of_4_fs_after_700_ps(tmp_path):
    universe = MDAnalysis.Universe.empty(2, trajectory=True)
    universe.dimensions = [20, 20, 20, 90, 90, 90]
    with MDAnalysis.Writer(str(tmp_path / "late.trr"), 2) as writer:
        for k in range(60):
            universe.trajectory.ts.time = 700.0 + 0.004 * k
            writer.write(universe.atoms)
    read = MDAnalysis.coordinates.core.reader(str(tmp_path / "late.trr"))
    steps = np.diff([frame.time for frame in read])
    assert np.ptp(steps) > 0.01 * 0.004, "the file's rounding is what this is about"
    tick([frame.time for frame in read])

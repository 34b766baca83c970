"""Tasks for workers. They live in a module of their own because a worker is a fresh interpreter."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

from ilforge import devices, frames, machine_programs
from ilforge.devices import Devices
from ilforge.errors import SettingsError
from ilforge.labelling.label import evaluate
from support.patience import until, until_file

SHORT = "ILFORGE_TEST_SHORT_OF_MEMORY"
"""Variable that names a file: while it is there, some calculations are killed."""
SLOW, SECONDS, MOST = "ILFORGE_TEST_SLOW_LOG", "ILFORGE_TEST_SLOW_SECONDS", "ILFORGE_TEST_MOST_LABELS"
"""Variables that name a file to log labels in, how long each takes, s, and after how many the others never end."""


def write_number(path: Path, number: int) -> None:
    """Write a number, and one line in a log beside the store so that a test can count the calls."""
    (path / "number.txt").write_text(str(number))


def count_call(log: Path, name: str) -> None:
    with open(log, "a") as handle:
        handle.write(f"{name}\n")


def logged_number(path: Path, number: int, log: Path, pause_s: float = 0.0) -> None:
    time.sleep(pause_s)
    write_number(path, number)
    count_call(log, str(number))


def process_id() -> int:
    return os.getpid()


def write_process_id(path: Path, seconds: float) -> None:
    """Say which process this is, then sleep."""
    path.write_text(str(os.getpid()))
    time.sleep(seconds)


def end_of_job() -> float:
    """When the time of this job of a cluster is over, s since the epoch."""
    return float(os.environ["ILFORGE_JOB_ENDS"])


def parents_then_sleep(log: Path, seconds: float) -> str:
    """Write down which process is the parent of this one, then sleep."""
    count_call(log, str(os.getppid()))
    time.sleep(seconds)
    return "done"


def is_alive(pid: int) -> bool:
    """Whether there is a process of this number that has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def wait_for(gate: Path) -> str:
    """Take as long as it takes until a file is there."""
    until_file(gate)
    return "done"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(flag: Path) -> str:
    """Kill the worker at the first call, succeed at the second."""
    if flag.exists():
        return "survived"
    flag.write_text("x")
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


def fail(message: str) -> None:
    raise ValueError(message)


def wrong_settings() -> None:
    raise SettingsError("not like this")


def threads_variable() -> str:
    return os.environ["OMP_NUM_THREADS"]


def full_disk() -> None:
    """Write to a device that is always full."""
    with open("/dev/full", "w") as handle:
        handle.write("x" * 100_000)
        handle.flush()


def die_for(number: int) -> int:
    """Kill the worker for 13, give back any other number."""
    if number == 13:
        die()
    return number


def logged_sleep(log: Path, name: str, seconds: float) -> None:
    """Say when it starts and when it ends."""
    count_call(log, f"start-{name}")
    time.sleep(seconds)
    count_call(log, f"end-{name}")


def logged_wait(log: Path, name: str, word: str) -> None:
    """Say when it starts, and when it ends: not before another task has written this word into the log."""
    count_call(log, f"start-{name}")
    until(lambda: word in log.read_text().split(), word)
    count_call(log, f"end-{name}")


def evaluate_with_little_memory(frame, spec, threads, inbox, liquid):
    """Label a frame, or be killed as the system does where memory ends: packed frames, while a file is there."""
    if frame.info["recipe"] == "packed" and os.path.exists(os.environ[SHORT]):
        die()
    return evaluate(frame, spec, threads, inbox, liquid)


def evaluate_slowly(frame, spec, threads, inbox, liquid):
    """Label a frame as a DFT program does, which takes its time, and write down that it was computed."""
    log = Path(os.environ[SLOW])
    count_call(log, f"begin-{frames.digest(frame)}")
    if log.read_text().count("begin-") > int(os.environ.get(MOST, "1000000")):
        threading.Event().wait()
    time.sleep(float(os.environ[SECONDS]))
    label = evaluate(frame, spec, threads, inbox, liquid)
    count_call(log, f"end-{frames.digest(frame)}")
    return label


def chosen_devices() -> Devices:
    """Devices of the worker."""
    return devices.chosen()


def huge_array() -> None:
    """Ask for more memory than any machine has."""
    bytearray(2**60)


def short_of_memory_once(log: Path) -> str:
    """Run out of memory at the first call; the log says when the calls were."""
    again = "short" in log.read_text().split()
    count_call(log, "alone" if again else "short")
    if not again:
        raise MemoryError("no room for the integrals")
    return "done"


def leave(code: int) -> None:
    """End the worker as a crashing library does."""
    os._exit(code)


class Unsendable(Exception):
    """An exception that cannot be made again from its arguments."""

    def __init__(self, first: str, second: str):
        super().__init__(first + second)


def raise_unsendable() -> None:
    raise Unsendable("a ", "b")


def unsendable_result() -> object:
    return lambda: None


def command_of(program: str) -> str:
    """What starts a program in the worker."""
    return machine_programs.command_text(program, "")

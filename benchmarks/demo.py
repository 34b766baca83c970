"""Wall time, processor time and peak memory of a small study, stage by stage; the quick one without STUDY.toml.

    python benchmarks/demo.py [STUDY.toml]

Runs the study in an empty folder, samples the memory of the whole process tree twice a second (proportional set
size, so that shared pages count once), and prints for each stage its wall time and the highest memory of the tree
while it ran (stages overlap, so this is what the machine must have, not what the stage alone uses). Processor time is
of the whole study: where other programs are at work, half of it is what two cores would have taken at the least. Linux
only.
"""

from __future__ import annotations

import datetime
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

DEFAULT = Path(__file__).parent.parent / "examples" / "pyr14bf4-quick.toml"


def main() -> None:
    """Run, sample, print."""
    study = Path(sys.argv[1] if len(sys.argv) > 1 else DEFAULT).resolve()
    with tempfile.TemporaryDirectory(prefix="ilforge-benchmark-") as folder:
        samples: list[tuple[float, float]] = []
        started = time.time()
        process = subprocess.Popen([sys.executable, "-m", "ilforge", "run", str(study)], cwd=folder)
        threading.Thread(target=_sample, args=(process, samples), daemon=True).start()
        code = process.wait()
        total = time.time() - started
        _print_stages(Path(folder), samples)
        peak = max((memory for _, memory in samples), default=float("nan"))
        print(f"{'whole study':56s} {total:9.1f} {peak:10.2f}   exit code {code}")
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(f"{'processor time of it, user and system':56s} {used.ru_utime:9.1f} {used.ru_stime:10.1f}")
    sys.exit(code)


def _print_stages(folder: Path, samples: list[tuple[float, float]]) -> None:
    manifests = [
        json.loads(path.read_text()) for path in (folder / "ilforge-store" / "results").glob("*/manifest.json")
    ]
    print(f"\n{'stage':56s} {'wall / s':>9s} {'tree / GB':>10s}")
    for manifest in sorted(manifests, key=lambda found: found["started"]):
        begin = datetime.datetime.strptime(manifest["started"], "%Y-%m-%dT%H:%M:%S%z").timestamp()
        during = [memory for moment, memory in samples if begin <= moment <= begin + manifest["wall_s"] + 1.0]
        print(f"{manifest['name']:56s} {manifest['wall_s']:9.1f} {max(during, default=float('nan')):10.2f}")


def _sample(process: subprocess.Popen, samples: list[tuple[float, float]]) -> None:
    while process.poll() is None:
        samples.append((time.time(), sum(map(_memory_GB, _tree(process.pid)))))
        time.sleep(0.5)


def _tree(root: int) -> list[int]:
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
    members = {root}
    while True:
        more = {pid for pid, parent in parents.items() if parent in members} - members
        if not more:
            return sorted(members)
        members |= more


def _memory_GB(pid: int) -> float:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024**2
    except OSError:
        pass
    return 0.0


if __name__ == "__main__":
    main()

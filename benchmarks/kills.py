"""Kills at random moments: is every label computed once, and the dataset that of a run that nobody disturbed?

``python benchmarks/kills.py FOLDER [--kills N] [--seed N] [--hours H]`` runs small studies one after the other, and
kills their drivers and workers (SIGKILL) until each ends, and until so many were killed in all:

- *labels in workers*, one study of ten: twelve labels by CL&P in two processes of the executor of this machine;
- *learning*: three iterations of concurrent learning, with and without ``learning.retrain_after`` and a rule that ends
  it, whose calculations only take their time; everything that decides and stores is real.

The first study that computes a label again after it was finished, that changes a decision, or whose dataset differs
ends the benchmark with an error, and stays in FOLDER. ``FOLDER/kills.jsonl`` has a line for each study; the same
command continues behind the last of them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))


def main() -> None:
    from support.random_kills import STUDIES  # not above: each worker imports this file

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hours", type=float, default=24.0, help="begin no further study after this time")
    asked = parser.parse_args()
    of_workers, *learning = STUDIES
    order = [of_workers, *(3 * learning)]
    book, began = asked.folder / "kills.jsonl", time.monotonic()
    asked.folder.mkdir(parents=True, exist_ok=True)
    done = [json.loads(line) for line in book.read_text().splitlines()] if book.exists() else []
    while killed(done) < asked.kills and time.monotonic() - began < 3600 * asked.hours:
        name, seed = order[len(done) % len(order)], asked.seed + len(done)
        folder = asked.folder / f"study-{len(done)}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        started = time.monotonic()
        kills = STUDIES[name](folder, seed)
        done.append({"study": name, "seed": seed, **vars(kills), "seconds": round(time.monotonic() - started, 1)})
        with open(book, "a") as file:
            file.write(json.dumps(done[-1]) + "\n")
        shutil.rmtree(folder)
    print_table(done)


def killed(done: list[dict]) -> int:
    return sum(one["drivers"] + one["workers"] for one in done)


def print_table(done: list[dict]) -> None:
    print("| study | studies | drivers killed | workers killed | runs that ended with an error | labels repaid |")
    print("|---|---|---|---|---|---|")
    for name in dict.fromkeys(one["study"] for one in done):
        own = [one for one in done if one["study"] == name]
        counts = [sum(one[key] for one in own) for key in ("drivers", "workers", "errors", "repaid")]
        print(f"| {name} | {len(own)} | {' | '.join(map(str, counts))} |")
    print(f"{killed(done)} kills in {sum(one['seconds'] for one in done) / 60:.0f} min; no violation")


if __name__ == "__main__":
    main()

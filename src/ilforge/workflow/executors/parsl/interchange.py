"""Parsl's interchange, which passes tasks on to nodes, as a program that ends with the run that started it.

Parsl's own interchange survives a killed run, and nodes then stay connected to it until their walltime ends.
"""

from __future__ import annotations

import runpy
import sys

from ilforge.workflow.executors.local import die_with

if __name__ == "__main__":
    die_with(int(sys.argv[1]))
    runpy.run_module("parsl.executors.high_throughput.interchange", run_name="__main__")

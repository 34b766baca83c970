"""``machine.json`` of DP-GEN, in its two layouts, as ``machine.toml``: one executor for each kind of work."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

from ilforge.dpgen.book import Book, Path, named
from ilforge.dpgen.machine_keys import Asked, Flags, Section
from ilforge.dpgen.toml import Table
from ilforge.errors import SettingsError

_SECTIONS = {"train": ("train",), "model_devi": ("explore", "md"), "fp": ("label",)}
"""Sections of machine.json, and the kinds of work of ilforge that each stands for."""
_NAMES = {"train": "training", "model_devi": "exploring", "fp": "labelling"}
_PROVIDERS = {"slurm": "slurm", "slurmjobarray": "slurm", "pbs": "pbs", "shell": "local", "local": "local"}
_SYSTEMS = (
    "lsf", "torque", "sge", "distributedshell", "dpcloudserver", "bohrium", "lebesgue", "openapi", "fugaku",
    "jh_unischeduler", "awsbatch", "cloudserver", "ucloud", "ali",
)  # fmt: skip
_WALLTIME_H, _JOBS = 24.0, 4
_LAUNCHER = re.compile(r"(^|[\s/])(mpirun|mpiexec\S*|srun|aprun|ibrun|jsrun)\s")
_PROGRAMS = {"vasp": "vasp", "cp2k": "cp2k"}
_ONE_NODE = "ilforge computes each task on one node, so nodes = 1; a job may have more nodes, with other tasks on each"
_HERE = "ilforge runs on a machine that can submit jobs (the login node), and copies no files to other machines"
_OWN_DEEPMD = "ilforge trains with the DeePMD-kit of its own environment"
_AS_A_JOB = "a job of ilforge runs one task after another until its walltime ends"


@dataclass
class MovedMachine:
    """``machine.toml`` as lines, and sentences on what the user must look at."""

    lines: list[str]
    remarks: list[str] = field(default_factory=list)


def move_machine(book: Book, fp_style: str, store: str) -> MovedMachine:
    """The executors of a ``machine.json``.

    Parameters
    ----------
    fp_style
        Program of the labels in DP-GEN's words.
    store
        Folder of results and labels.

    Raises
    ------
    SettingsError
        When a section is missing, or names a queueing system that neither DP-GEN nor ilforge knows.
    """
    moved = MovedMachine([])
    top = Table("")
    top.add("store", store, "the labels of DP-GEN are here")
    tables, run, commands = [], Table("run"), Table("commands")
    for name, works in _SECTIONS.items():
        section = _section(book, name)
        table = _executor(book, section, moved)
        if table is not None:
            tables.append(table)
            for work in works:
                run.add(work, _NAMES[name], f"{book.file}: {name}")
        _command(book, section, fp_style, commands)
    if run.lines:
        run.note("analyse is not named: it stays on this machine")
    moved.lines += [*top.lines, *run.text(), *(line for table in tables for line in table.text()), *commands.text()]
    return moved


def _section(book: Book, name: str) -> Section:
    """Where the parts of a section are: ``fp.machine`` (since 2021), or ``fp_machine`` (before)."""
    if book.has(name):
        inner: Path = (name,)
        if isinstance(book.get(name), list):
            inner = (name, 0)
            for number in range(1, len(book.get(name))):
                book.leave((name, number), "DP-GEN itself uses the first machine of the list only")
        if not isinstance(book.get(*inner), Mapping):
            raise book.fault(inner, "a table with machine, resources and command")
        return Section(name, (*inner, "machine"), (*inner, "resources"), (*inner, "command"))
    if not any(book.has(f"{name}_{part}") for part in ("machine", "resources", "command")):
        raise SettingsError(
            f"{book.file} has no {name!r} and no '{name}_machine': expected the sections train, model_devi and fp, "
            "each with command, machine and resources."
        )
    command = f"{name}_command" if name != "model_devi" or book.has("model_devi_command") else "lmp_command"
    return Section(name, (f"{name}_machine",), (f"{name}_resources",), (command,))


def _executor(book: Book, section: Section, moved: MovedMachine) -> Table | None:
    """The table of an executor; None where Parsl has no provider for the queueing system."""
    provider = _provider(book, section, moved)
    if provider is None:
        return None
    name = _NAMES[section.name]
    table = Table(f"executors.{name}")
    table.add("kind", "parsl", "")
    _enter_provider(book, section, provider, table)
    asked = Asked(book, section, table)
    _size(asked, cpu_only=section.name == "fp")
    _limits(asked, provider)
    _shell(asked)
    _explain_rest(book, section)
    return table


def _provider(book: Book, section: Section, moved: MovedMachine) -> str | None:
    for path in _said_provider(section):
        if isinstance(book.get(*path), str):
            break
    else:
        raise SettingsError(
            f"{book.file}: {section.name} does not say how jobs are started: expected batch_type (Slurm, PBS, Shell) "
            f"in {section.name}.machine, or machine_type in {section.name}_machine."
        )
    said = str(book.get(*path))
    if said.lower() in _PROVIDERS:
        return _PROVIDERS[said.lower()]
    if said.lower() not in _SYSTEMS:
        raise SettingsError(f"{book.file}: {section.name}: batch_type is {said!r}; expected Slurm, PBS or Shell.")
    why = f"no executor of ilforge starts jobs of {said}"
    book.leave(path, f"{why}; this work runs on the machine of the run until you name an executor in [run]")
    for part in (section.machine, section.resources):
        for key in book.get(*part, default={}):
            if not key.startswith("_") and (*part, key) != path:
                book.leave((*part, key), why)
    moved.remarks.append(
        f"{book.file}: {section.name} runs on {said}, for which ilforge has no executor: it has Slurm, PBS, Kubernetes "
        f"and this machine. {_NAMES[section.name].capitalize()} runs on this machine until you name another in [run]."
    )
    return None


def _enter_provider(book: Book, section: Section, provider: str, table: Table) -> None:
    paths = [path for path in _said_provider(section) if book.has(*path)]
    table.add("provider", provider, f"{book.file}: {named(paths[0])} = {book.get(*paths[0])}")
    for path in paths:
        book.take(path, f"machine.toml: {table.name}.provider")


def _said_provider(section: Section) -> list[Path]:
    """Where a section may name its queueing system."""
    of_machine = [(*section.machine, key) for key in ("batch_type", "batch", "machine_type")]
    return [*of_machine, (*section.resources, "batch_type")]


def _size(asked: Asked, cpu_only: bool) -> None:
    """Partition, cores, GPUs, and tasks at the same time."""
    book = asked.book
    queue = asked.path("queue_name", "partition", "queue")
    if book.get(*queue):
        asked.put("partition", str(book.get(*queue)), queue)
    else:
        book.leave(queue, "it is empty: the default partition is used")
    asked.table.add("jobs", _JOBS, "not from DP-GEN: jobs at the same time")
    nodes = asked.path("number_node", "numb_node")
    book.take(nodes, f"machine.toml: {asked.table.name}.nodes = 1 (the default)")
    if (book.whole(*nodes) or 1) > 1:
        book.leave(nodes, _ONE_NODE)
    cores_at = asked.path("cpu_per_node", "task_per_node")
    each_at = asked.path("cpus_per_task")
    cores = (book.whole(*cores_at) or 0) * max(1, book.whole(*each_at) or 1)
    if cores:
        asked.put("cores", cores, cores_at, *([each_at] if book.has(*each_at) else []))
    else:
        book.leave(cores_at, "it is 0: a job asks for whole nodes")
    gpus_at = asked.path("gpu_per_node", "numb_gpu")
    gpus = book.whole(*gpus_at) or 0
    if gpus and not cpu_only:
        asked.put("gpus", gpus, gpus_at)
        asked.table.add("device", "cuda", "the models compute on these GPUs")
    elif gpus:
        book.leave(gpus_at, "the DFT programs of ilforge compute on the processor")
    else:
        book.take(gpus_at, f"machine.toml: {asked.table.name} asks for no GPU (the default)")
    _at_once(asked, cores, 0 if cpu_only else gpus)


def _at_once(asked: Asked, cores: int, gpus: int) -> None:
    """``workers`` and ``threads``: ``para_deg`` tasks at the same time, at most one for each GPU."""
    degree_at = asked.path("para_deg")
    degree = max(1, asked.book.whole(*degree_at) or 1)
    workers = min(degree, gpus or degree, cores or degree)
    note = "" if asked.book.has(*degree_at) else "DP-GEN runs one task at a time"
    asked.put("workers", workers, *([degree_at] if not note else []), note=note)
    if workers < degree:
        asked.book.leave(degree_at, f"at most one task for each of {gpus} GPUs, or for each of {cores} cores")
    command = asked.book.get(*asked.section.command)
    if asked.section.name == "fp" and isinstance(command, str) and _LAUNCHER.search(command):
        asked.table.add("threads", 1, "of each process that the launcher in [commands] starts")
    else:
        asked.table.add("threads", max(1, cores // workers), "cores divided by workers")


def _limits(asked: Asked, provider: str) -> None:
    """Walltime, memory, account and lines for the queueing system."""
    found = Flags(asked, provider)
    walltime = found.walltime_h
    if walltime is None:
        asked.table.add("walltime_h", _WALLTIME_H, "not from DP-GEN: set the limit of your queue")
    else:
        asked.put("walltime_h", walltime[0], walltime[1])
    if found.memory_GB is not None:
        asked.put("memory_GB", found.memory_GB[0], found.memory_GB[1])
    if found.account is not None:
        asked.put("account", found.account[0], found.account[1])
    if found.options:
        sources = list(dict.fromkeys(path for _, path in found.options))
        asked.put("options", [option for option, _ in found.options], *sources)


def _shell(asked: Asked) -> None:
    """Lines of shell that a job runs first, in the order of DP-GEN's scripts."""
    book, lines, sources = asked.book, [], []

    def add(key: str, made: list[str]) -> None:
        if made:
            lines.extend(made)
            sources.append(asked.path(key))
        else:
            book.leave(asked.path(key), "it is empty")

    purge = asked.path("module_purge")
    add("module_purge", ["module purge"] if book.get(*purge) else [])
    for key, verb in (
        ("module_unload_list", "module unload"),
        ("module_list", "module load"),
        ("source_list", "source"),
    ):
        add(key, [f"{verb} {word}" for word in book.texts(*asked.path(key))])
    variables = book.get(*asked.path("envs"), default={}) or {}
    if not isinstance(variables, Mapping):
        raise book.fault(asked.path("envs"), "a table of names and values")
    values = [
        (name, one) for name, value in variables.items() for one in (value if isinstance(value, list) else [value])
    ]
    add("envs", [f'export {name}="{value}"' for name, value in values if not str(name).startswith("_")])
    add("prepend_script", book.texts(*asked.path("prepend_script")))
    if lines:
        asked.put("environment", lines, *sources)
    asked.table.note('ilforge must be there too: add "source /path/to/ilforge/bin/activate", or set python')


def _command(book: Book, section: Section, fp_style: str, commands: Table) -> None:
    """The command of the DFT program; those of DeePMD and LAMMPS are ilforge's own."""
    path = section.command
    said = book.get(*path)
    if section.name != "fp":
        lammps = "ilforge uses the LAMMPS of its own environment; for another one set lmp in [commands]"
        book.leave(path, _OWN_DEEPMD if section.name == "train" else lammps)
        return
    if not isinstance(said, str):
        return
    found = _start_of(said, _PROGRAMS.get(fp_style, ""))
    if found is None:
        book.leave(path, "ilforge has no such program for labels, or the command does not name it")
        return
    commands.add(_PROGRAMS[fp_style], found, f"{book.file}: {named(path)} = {said!r}")
    book.take(path, f"machine.toml: commands.{_PROGRAMS[fp_style]}")


def _start_of(command: str, program: str) -> str | None:
    """A command up to its program, without what a shell would do after it."""
    first = re.split(r"\|\||&&|[;|<>]", command)[0]
    try:
        words = shlex.split(first)
    except ValueError:
        return None
    for place, word in enumerate(words):
        if program and PurePath(word).name.lower().startswith(program):
            return shlex.join(words[: place + 1])
    return None


def _explain_rest(book: Book, section: Section) -> None:
    """Reasons for keys of dpdispatcher that have no counterpart."""
    for key in book.get(*section.machine, default={}):
        if not key.startswith("_") and key not in ("batch_type", "batch", "machine_type"):
            book.leave((*section.machine, key), _OF_MACHINE.get(key, _HERE))
    for key, why in _OF_RESOURCES.items():
        book.leave((*section.resources, key), why)
    for key in ("group_size", "user_forward_files", "user_backward_files"):
        why = _AS_A_JOB if key == "group_size" else "ilforge copies no files: nodes see the store"
        book.leave((f"{section.name}_{key}",), why)
        book.leave((*section.command[:-1], key), why)


_OF_MACHINE: dict[str, str] = {
    "clean_asynchronously": "ilforge leaves no files on other machines",
    "retry_count": "a lost node costs no attempt of a task; a task that crashes is tried once more",
}
_OF_RESOURCES = {
    "group_size": _AS_A_JOB,
    "strategy": "each task has its own GPU; a task that fails is told with its reason, and the others go on",
    "wait_time": "ilforge submits at most submissions_per_hour jobs (20)",
    "append_script": "jobs of ilforge end without further commands",
    "kwargs": "for dpdispatcher; write what your queueing system needs into options",
    "with_mpi": "the command of the program in [commands] says it",
    "allow_failure": "a calculation that fails is kept with its reason, and the others go on",
    "cvasp": "ilforge runs VASP itself, without Custodian",
    "manual_cuda_devices": "each task has its own GPU",
    "manual_cuda_multiplicity": "each task has its own GPU",
    "cuda_multi_tasks": "each task has its own GPU",
}


def leave_top(book: Book) -> None:
    """Enter the keys outside the sections."""
    book.leave(("api_version",), "for DP-GEN")
    for key in ("deepmd_version", "deepmd_path", "python_path", "python_test_path"):
        book.leave((key,), _OWN_DEEPMD)
    book.leave(("handlers",), "ilforge sends no e-mails")

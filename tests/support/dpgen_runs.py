"""Work directories that look like DP-GEN's: small, made here, with labels by GFN1-xTB in the place of DFT."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from ase import Atoms

from ilforge import frames
from ilforge.labelling.datasets.exchange import virial_from_stress
from ilforge.labelling.label import evaluate
from ilforge.liquid.ions import get_ion

SALT = "2 Li, 2 BF4"
TYPE_MAP = ["B", "F", "Li"]
POTCARS = {"B": "PAW_PBE B 06Sep2000", "F": "PAW_PBE F 08Apr2002", "Li": "PAW_PBE Li_sv 10Sep2004"}
INCAR = """PREC=A
ENCUT=500   # eV
ISYM=0
ALGO=fast
EDIFF=1E-5 ; NELM = 80
LREAL=A
NPAR=4
ISMEAR=0
SIGMA=0.1
IVDW=12
LWAVE=F
LCHARG=F
KSPACING=2
KGAMMA=F
ADDGRID=.TRUE.   ! finer grid
"""


def salt(number: int) -> Atoms:
    """2 Li+ and 2 BF4- in a box of 8 Å, labelled by GFN1-xTB, in the order of the ions."""
    anion = get_ion("BF4")
    corners = np.array([[0.0, 0.0, 0.0], [4.0, 4.0, 4.0], [2.0, 2.0, 2.0], [6.0, 6.0, 6.0]])
    positions = np.concatenate([corners[2:], *(anion.positions + corner for corner in corners[:2])])
    frame = Atoms(["Li", "Li", *anion.symbols, *anion.symbols], positions, cell=np.eye(3) * 8.0, pbc=True)
    frame.rattle(0.06, seed=number)
    frame.info["ions"] = SALT
    frames.quantize(frame)
    return evaluate(frame, {"kind": "xtb"}).on(frame)


def by_element(labelled: list[Atoms]) -> tuple[list[Atoms], np.ndarray]:
    """The frames with atoms sorted by element, as VASP wants them, and the order."""
    order = np.argsort(labelled[0].get_chemical_symbols(), kind="stable")
    return [frame[order] for frame in labelled], order


def write_system(folder: Path, labelled: list[Atoms], type_map=TYPE_MAP, virials=True) -> None:
    """A system as dpdata writes it: raw types and ``set.000``."""
    part = folder / "set.000"
    part.mkdir(parents=True)
    types = [type_map.index(symbol) for symbol in labelled[0].get_chemical_symbols()]
    (folder / "type.raw").write_text("\n".join(map(str, types)) + "\n")
    (folder / "type_map.raw").write_text("\n".join(type_map) + "\n")
    count = len(labelled)
    arrays = {
        "coord": [frame.positions for frame in labelled],
        "box": [frame.cell.array for frame in labelled],
        "energy": [frame.info[frames.ENERGY] for frame in labelled],
        "force": [frame.arrays[frames.FORCES] for frame in labelled],
    }
    if virials:
        arrays["virial"] = [virial_from_stress(frame.info[frames.STRESS], frame.get_volume()) for frame in labelled]
    for name, values in arrays.items():
        np.save(part / f"{name}.npy", np.array(values, dtype=float).reshape(count, -1))


def vasp_param() -> dict:
    """Settings for DeePMD-kit 2 and VASP, as in DP-GEN since 2021."""
    return {
        "type_map": TYPE_MAP,
        "mass_map": [10.81, 18.998, 6.94],
        "_comment": "an example",
        "init_data_prefix": "init",
        "init_data_sys": ["salt"],
        "init_batch_size": [2],
        "sys_configs_prefix": "confs",
        "sys_configs": [["salt*/POSCAR"]],
        "sys_batch_size": [2],
        "numb_models": 3,
        "dp_compress": True,
        "training_reuse_iter": 1,
        "training_reuse_numb_steps": 40000,
        "training_reuse_start_lr": 1e-4,
        "default_training_param": {
            "model": {
                "type_map": TYPE_MAP,
                "descriptor": {
                    "type": "se_e2_a",
                    "sel": [10, 40, 10],
                    "rcut": 7.0,
                    "rcut_smth": 0.6,
                    "neuron": [25, 50, 100],
                    "axis_neuron": 12,
                    "type_one_side": True,
                    "seed": 1,
                },
                "fitting_net": {"neuron": [240, 240, 200], "resnet_dt": True, "seed": 1},
            },
            "learning_rate": {"type": "exp", "start_lr": 2e-3, "stop_lr": 5e-8, "decay_steps": 2000},
            "loss": {
                "start_pref_e": 0.03,
                "limit_pref_e": 2,
                "start_pref_f": 900,
                "limit_pref_f": 1.5,
                "start_pref_v": 0.01,
                "limit_pref_v": 0.5,
            },
            "training": {
                "numb_steps": 100000,
                "disp_freq": 1000,
                "training_data": {"systems": [], "batch_size": "auto"},
            },
        },
        "model_devi_dt": 0.002,
        "model_devi_skip": 0,
        "model_devi_f_trust_lo": 0.12,
        "model_devi_f_trust_hi": 0.45,
        "model_devi_clean_traj": True,
        "model_devi_jobs": [
            {"sys_idx": [0], "temps": [300], "press": [1.0], "trj_freq": 10, "nsteps": 500, "ensemble": "npt",
             "_idx": "0"},
            {"sys_idx": [0], "temps": [400, 500], "press": [1.0], "trj_freq": 20, "nsteps": 2000, "ensemble": "npt"},
            {"sys_idx": [0], "temps": [600], "press": [1.0, 5000.0], "trj_freq": 20, "nsteps": 4000, "ensemble": "nvt",
             "taut": 0.2},
        ],
        "fp_style": "vasp",
        "shuffle_poscar": False,
        "fp_task_max": 25,
        "fp_task_min": 5,
        "fp_accurate_threshold": 0.97,
        "fp_pp_path": "potcars",
        "fp_pp_files": [f"POTCAR_{element}" for element in TYPE_MAP],
        "fp_incar": "INCAR_salt",
        "use_clusters": False,
        "what_is_this": {"deep": [1, 2]},
    }  # fmt: skip


def slurm_machine() -> dict:
    """Slurm by dpdispatcher."""

    def section(command, resources):
        machine = {
            "batch_type": "Slurm",
            "context_type": "SSHContext",
            "local_root": "./",
            "remote_root": "/scratch/me",
            "remote_profile": {"hostname": "login.example.org", "username": "me", "password": "hunter2"},
        }
        return {"command": command, "machine": machine, "resources": resources}

    gpu = {"number_node": 1, "cpu_per_node": 8, "gpu_per_node": 2, "queue_name": "gpu", "group_size": 1, "para_deg": 2}
    return {
        "api_version": "1.0",
        "deepmd_version": "2.2.7",
        "train": [section("dp", {**gpu, "custom_flags": ["#SBATCH --time=1-12:00:00", "#SBATCH --mem=64G"]})],
        "model_devi": [
            section("lmp -i input.lammps -v restart 0", {**gpu, "group_size": 5, "source_list": ["/opt/dp.env"]})
        ],
        "fp": [
            section(
                "mpirun -n 32 vasp_std || :",
                {
                    "number_node": 1,
                    "cpu_per_node": 32,
                    "gpu_per_node": 0,
                    "queue_name": "cpu",
                    "group_size": 20,
                    "custom_flags": ["#SBATCH -t 12:30:00", "#SBATCH -A proj7", "#SBATCH --constraint=milan"],
                    "module_list": ["intel/2021", "vasp/6.3"],
                    "envs": {"OMP_NUM_THREADS": 1},
                    "prepend_script": ["ulimit -s unlimited"],
                },
            )
        ],
    }  # fmt: skip


def cp2k_param() -> dict:
    """Settings for DeePMD-kit 0.12 and CP2K, in the words of 2020."""
    return {
        "type_map": TYPE_MAP,
        "init_data_sys": [],
        "sys_configs": [["a/POSCAR"], ["b/POSCAR"]],
        "numb_models": 4,
        "train_param": "input.json",
        "default_training_param": {
            "use_smooth": True,
            "sel_a": [16, 4, 8],
            "rcut_smth": 1.0,
            "rcut": 6.5,
            "filter_neuron": [10, 20, 30],
            "n_axis_neuron": 6,
            "n_neuron": [100, 100, 100],
            "stop_batch": 40000,
            "batch_size": 1,
            "start_lr": 0.001,
            "decay_steps": 200,
            "decay_rate": 0.95,
            "start_pref_e": 0.02,
            "limit_pref_e": 2,
            "start_pref_f": 1000,
            "limit_pref_f": 1,
            "disp_file": "lcurve.out",
        },
        "model_devi_dt": 0.0005,
        "model_devi_skip": 10,
        "model_devi_f_trust_lo": [0.05, 0.08],
        "model_devi_f_trust_hi": {"0": 0.3, "1": 0.4},
        "model_devi_jobs": [{"sys_idx": [0, 1], "temps": [450], "trj_freq": 40, "nsteps": 2000, "ensemble": "nvt"}],
        "fp_style": "cp2k",
        "fp_task_max": 10,
        "fp_task_min": 2,
        "user_fp_params": {
            "FORCE_EVAL": {
                "DFT": {
                    "MGRID": {"CUTOFF": "450", "REL_CUTOFF": "60"},
                    "SCF": {"EPS_SCF": "1.0E-6", "MAX_SCF": 30, "OUTER_SCF": {"MAX_SCF": 9}},
                    "XC": {
                        "XC_FUNCTIONAL": {"_": "PBE"},
                        "VDW_POTENTIAL": {
                            "POTENTIAL_TYPE": "PAIR_POTENTIAL",
                            "PAIR_POTENTIAL": {"TYPE": "DFTD3(BJ)", "REFERENCE_FUNCTIONAL": "PBE"},
                        },
                    },
                },
                "SUBSYS": {
                    "KIND": {
                        "_": ["B", "F", "Li"],
                        "POTENTIAL": ["GTH-PBE-q3", "GTH-PBE-q7", "GTH-PBE-q3"],
                        "BASIS_SET": ["DZVP-MOLOPT-SR-GTH"] * 3,
                    }
                },
            }
        },
    }


def pbs_machine() -> dict:
    """PBS in the layout before dpdispatcher."""
    gpu = {
        "numb_node": 1,
        "numb_gpu": 1,
        "task_per_node": 4,
        "partition": "gpuq",
        "time_limit": "23:0:0",
        "mem_limit": 32,
    }
    machine = {"machine_type": "pbs", "hostname": "localhost", "port": 22, "username": "me", "work_path": "/scratch"}
    return {
        "deepmd_path": "/opt/deepmd",
        "train_machine": machine,
        "train_resources": {**gpu, "source_list": ["/opt/deepmd/activate"], "_comment": "that's all"},
        "lmp_command": "/opt/lammps/bin/lmp_mpi",
        "model_devi_group_size": 5,
        "model_devi_machine": machine,
        "model_devi_resources": gpu,
        "fp_command": "mpirun -np 16 /opt/cp2k/bin/cp2k.popt -i input.inp > output",
        "fp_group_size": 2,
        "fp_machine": machine,
        "fp_resources": {
            "numb_node": 1,
            "numb_gpu": 0,
            "task_per_node": 16,
            "with_mpi": True,
            "time_limit": "6:30:0",
            "partition": "long",
            "module_list": ["cp2k"],
            "envs": {"CP2K_DATA_DIR": "/opt/cp2k/data"},
        },
    }


def write_run(workdir: Path, param: dict, machine: dict, labelled: list[Atoms], record="1 8", virials=True) -> Path:
    """A work directory with two finished iterations; the labels are divided among them and the initial data."""
    workdir.mkdir(parents=True)
    (workdir / "param.json").write_text(json.dumps(param, indent=2))
    (workdir / "machine.json").write_text(json.dumps(machine, indent=2))
    steps = range(9)
    iteration, step = map(int, record.split())
    lines = [f"{one} {two}" for one in range(iteration + 1) for two in steps if (one, two) <= (iteration, step)]
    (workdir / "record.dpgen").write_text("\n".join(lines) + "\n")
    sorted_, _ = by_element(labelled)
    places = [workdir / "iter.000000/02.fp/data.000", workdir / "iter.000001/02.fp/data.000"]
    if param["init_data_sys"]:
        places = [workdir / "init/salt/deepmd", *places]
    for number, place in enumerate(places):
        write_system(place, sorted_[number :: len(places)], virials=virials)
    for one in range(iteration + 1):
        train = workdir / f"iter.{one:06d}/00.train"
        for number in range(param["numb_models"]):
            (train / f"{number:03d}").mkdir(parents=True)
            frozen = train / f"{number:03d}/frozen_model.pb"
            frozen.write_bytes(f"no model: {one} {number}".encode())
            (train / f"graph.{number:03d}.pb").symlink_to(f"{number:03d}/frozen_model.pb")
        for number in range(6):
            (workdir / f"iter.{one:06d}/01.model_devi/task.000.{number:06d}").mkdir(parents=True)
    if param["fp_style"] == "vasp":
        (workdir / "INCAR_salt").write_text(INCAR)
        (workdir / "potcars").mkdir()
        for element, title in POTCARS.items():
            (workdir / f"potcars/POTCAR_{element}").write_text(f"  {title}\n 1.0\n End of Dataset\n")
    return workdir

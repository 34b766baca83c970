"""Stands in for VASP: answers POSCAR by vasprun.xml, with forces that tell every atom from every other.

The energy is the number of runs since there was no WAVECAR, in -eV; the third of them does not converge.
"""

from pathlib import Path

import ase.io


def main():
    for name in ("INCAR", "KPOINTS", "POTCAR"):
        assert Path(name).stat().st_size, name
    wavecar = Path("WAVECAR")
    runs = int(wavecar.read_text()) + 1 if wavecar.is_file() else 1
    wavecar.write_text(str(runs))
    incar = dict(line.split(" = ") for line in Path("INCAR").read_text().splitlines())
    atoms = ase.io.read("POSCAR", format="vasp")
    steps = int(incar["NELM"]) if runs == 3 else 3
    Path("vasprun.xml").write_text(
        f"""<modeling>
<generator>{entry("program", "vasp")}{entry("version", "6.4.2")}</generator>
<incar>{"".join(entry(*item) for item in incar.items())}</incar>
<atominfo>
<array name="atoms"><set>{"".join(f"<rc><c>{symbol}</c><c>1</c></rc>" for symbol in atoms.symbols)}</set></array>
<array name="atomtypes"><set/></array>
</atominfo>
<calculation>
{"".join(f"<scstep>{energy(0.5**step)}</scstep>" for step in range(steps))}
<structure>
<crystal>{array("basis", atoms.cell)}</crystal>
{array("positions", atoms.get_scaled_positions())}
</structure>
{array("forces", atoms.positions * atoms.numbers[:, None])}
{energy(-runs)}
</calculation>
</modeling>
"""
    )


def entry(name, value):
    return f'<i name="{name}">{value}</i>'


def energy(value):
    return f"<energy>{entry('e_fr_energy', value)}</energy>"


def array(name, rows):
    return (
        f'<varray name="{name}">{"".join("<v>" + " ".join(f"{x:.10f}" for x in row) + "</v>" for row in rows)}</varray>'
    )


if __name__ == "__main__":
    main()

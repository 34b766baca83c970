"""Print numbers, units and quantities."""

from __future__ import annotations

import math
import re

from ilforge.results import TO_TEACHER

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SHOWN_AS = {"eV/atom": ("meV/atom", 1000.0)}

_QUANTITIES = {
    "density": "Density",
    "self_diffusion": "Self-diffusion",
    "force_rmse": "Force RMSE",
    "force_mae": "Force MAE",
    "energy_rmse_per_atom": "Energy RMSE",
    "energy_mae_per_atom": "Energy MAE",
    "energy_rmse_per_atom_offset_removed": "Energy RMSE, offset removed",
    "energy_mae_per_atom_offset_removed": "Energy MAE, offset removed",
    "ion_force_rmse": "Force RMSE on whole ions",
    "ion_force_rmse_ratio": "Force RMSE on whole ions, of RMS",
    "ion_torque_rmse": "Torque RMSE on whole ions",
    "internal_force_rmse": "Force RMSE within ions",
    "pressure_error": "Pressure error",
    "msd": "Mean squared displacement",
    "msd_slope": "Local slope of the mean squared displacement",
    "rdf_first_peak": "First peak of g(r)",
    "rdf_first_minimum": "First minimum of g(r)",
    "self_diffusion_infinite": "Self-diffusion, infinite system",
    "conductivity": "Ionic conductivity",
    "conductivity_nernst_einstein": "Conductivity, Nernst-Einstein",
    "conductivity_green_kubo": "Conductivity, Green-Kubo",
    "charge_msd": "Mean squared displacement of the charge",
    "charge_msd_slope": "Local slope of the displacement of the charge",
    "viscosity_spectrum": "Power spectrum of the shear stress",
    "structure_factor_main_peak": "Main peak of S(q), X-rays",
    "structure_factor_xray": "Structure factor, X-rays",
    "structure_factor_neutron": "Structure factor, neutrons",
    "structure_factor": "Partial structure factor",
    "largest_cavity_radius": "Radius of the largest void",
    "cavity": "Radius of the largest void",
    "rdf": "Radial distribution",
    "coordination": "Running coordination number",
}


def quantity_name(quantity: str) -> str:
    """``"self_diffusion"`` as ``"Self-diffusion"``."""
    if quantity.endswith(TO_TEACHER):
        return f"{quantity_name(quantity.removesuffix(TO_TEACHER))}, against the teacher"
    return _QUANTITIES.get(quantity, quantity.replace("_", " ").capitalize())


def unit_name(unit: str) -> str:
    """``"g/cm^3"`` as ``"g/cm³"``, ``"A^2/ps"`` as ``"Å²/ps"``."""
    if unit == "1":
        return ""
    unit = re.sub(r"\bA\b", "Å", unit)
    unit = re.sub(r"^1e(-?\d+)", lambda power: "10" + power.group(1).translate(_SUPERSCRIPT), unit)
    unit = re.sub(r"\^(-?\d+)", lambda power: power.group(1).translate(_SUPERSCRIPT), unit)
    return re.sub(r"(?<=[a-zÅ])(\d)\b", lambda power: power.group(1).translate(_SUPERSCRIPT), unit)


def shown_unit(unit: str) -> tuple[str, float]:
    """Unit in which a quantity is printed, and the conversion factor: energies per atom are printed in meV."""
    name, factor = _SHOWN_AS.get(unit, (unit, 1.0))
    return unit_name(name), factor


def number(value: float, digits: int = 3) -> str:
    """A number with ``digits`` significant digits, without an exponent if it is not too long."""
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    power = _power(value)
    if power >= 6 or power < -3:
        mantissa = f"{value / 10.0**power:.{digits - 1}f}".replace("-", "−")
        return f"{mantissa} × 10{str(power).translate(_SUPERSCRIPT)}"
    return f"{value:.{max(0, digits - 1 - power)}f}".replace("-", "−")


def with_error(value: float, error: float) -> str:
    """``"1.037 ± 0.003"``: the error has two digits if its mantissa is small, otherwise one; the value matches it."""
    if not math.isfinite(value):
        return "–"
    if not math.isfinite(error) or error <= 0:
        return f"{number(value)} (no error)"
    power = _power(max(abs(value), error))
    if power >= 6 or power < -3:
        return f"({_aligned(value / 10.0**power, error / 10.0**power)}) × 10{str(power).translate(_SUPERSCRIPT)}"
    return _aligned(value, error)


def duration(seconds: float) -> str:
    """A length of time to the second: ``"3 min 20 s"``, ``"2 h 05 min"``, ``"0.4 s"``."""
    if not math.isfinite(seconds):
        return "–"
    if seconds < 59.95:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def rough_duration(seconds: float) -> str:
    """A length of time as people say it, rounded: ``"40 s"``, ``"12 min"``, ``"3.5 h"``, ``"6 days"``."""
    seconds = max(0.0, seconds)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.0f} days"


def sentence(text: str) -> str:
    """A clause with a capital letter and a full stop."""
    text = text.strip()
    return text and text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def typeset(text: str) -> str:
    """Text with superscript powers of units, and without line breaks inside units such as eV/Å."""
    text = re.sub(r"\bg/cm\^?3\b", "g/cm³", text).replace("Å^3", "Å³")
    return re.sub(r"(?<=eV)/(?=Å|atom)|(?<=g)/(?=cm)", "/\u2060", text)


def joined(words: list[str] | tuple[str, ...]) -> str:
    """``"a, b and c"``."""
    words = list(words)
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1] if words else ""


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """``"1 frame"``, ``"2 frames"``."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def _power(value: float) -> int:
    return math.floor(math.log10(abs(value)))


def _aligned(value: float, error: float) -> str:
    leading = error / 10.0 ** _power(error)
    digits = (1 if leading < 3 else 0) - _power(error)
    if digits < 0:
        value, error, digits = round(value, digits), round(error, digits), 0
    return f"{value:.{digits}f} ± {error:.{digits}f}".replace("-", "−")

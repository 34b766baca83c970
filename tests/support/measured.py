"""What analyses of local structure give, made up: maps of shapes, a Markov state model, clusters with pictures."""

from __future__ import annotations

import numpy as np

from ilforge.properties import Measurement
from ilforge.properties.shared.conformations import MAP_REGIONS
from ilforge.results import Curve, Estimate, Table

KJ_PER_KT = 3.517
"""At 423 K."""
MAP_COLUMNS = ("density", "density_error", "F_kT", "F_error_kT", "F_kJ_mol", "F_error_kJ_mol", "n_independent",
               "converged")  # fmt: skip
STATES = {"Li(TFSI)2": (20.0, 40.0), "Li(TFSI)3": (60.0, 90.0), "Li(TFSI)4": (20.0, 30.0)}
"""Population in percent and lifetime in ps."""
PICTURE = """4
Properties=species:S:1:pos:R:3:coordinating:L:1 title="Li and a bit of TFSI" pbc="F F F"
Li 0.0 0.0 0.0 F
O 1.9 0.1 0.0 T
S 3.3 0.4 0.2 F
O 4.0 1.6 0.1 F
"""


def tfsi_map(centre: float, converged: bool = True) -> Measurement:
    """A map of TFSI with one well at phi = ``centre``, and populations that go with it."""
    edges = np.arange(-175.0, 180.0, 10.0)
    phi, psi = (axis.ravel() for axis in np.meshgrid(edges, edges))
    free = ((phi - centre) / 40.0) ** 2 + ((psi - 100.0) / 40.0) ** 2
    seen = free < 6.0
    density = np.exp(-free) * seen
    density /= density.sum() * 100.0
    rows = [
        (float(a), float(b), float(p), float(0.1 * p), float(f), 0.1, float(f * KJ_PER_KT), 0.1 * KJ_PER_KT, 10,
         converged)
        for a, b, p, f in zip(phi[seen], psi[seen], density[seen], (free - free[seen].min())[seen], strict=True)
    ]  # fmt: skip
    regions = MAP_REGIONS["phi", "psi"]
    kinds = regions.classify(np.stack([phi, psi], axis=1))
    shares = [100.0 * 100.0 * density[kinds == k].sum() for k in range(len(regions.labels))]
    estimates = [
        ("shape_population", f"TFSI {label}", Estimate(share, 1.5, 30.0, "%", converged, "" if converged else "short"))
        for label, share in zip(regions.labels, shares, strict=True)
    ]
    table = Table(("phi_degrees", "psi_degrees", *MAP_COLUMNS), rows, "map", "TFSI")
    return Measurement(estimates, tables={"map TFSI": table})


def exchange(passed: bool = True) -> Measurement:
    """A Markov state model of three states; one that failed its test where asked for."""
    why = "" if passed else "the model fails: Chapman-Kolmogorov test: 7.1 standard errors at most"
    estimates = [("exchange_time_scale", "Li-TFSI", Estimate(50.0, 4.0, 200.0, "ps", passed, why))]
    for state, (share, life) in STATES.items():
        estimates.append(("cluster_lifetime", state, Estimate(life, 3.0, 60.0, "ps", passed, why)))
        estimates.append(("markov_population", state, Estimate(share, 2.0, 60.0, "%", passed, why)))
    names = list(STATES)
    flux = {(0, 1): 5.0, (1, 2): 6.5, (0, 2): 0.2}
    matrix = [
        (a, b, 5.0, 0.1, 0.01, None if i == j else flux[min(i, j), max(i, j)], None if i == j else 0.3, 60, passed)
        for i, a in enumerate(names) for j, b in enumerate(names)
    ]  # fmt: skip
    columns = ("from", "to", "lag_ps", "probability", "error", "flux_per_ns", "flux_error_per_ns", "n_independent",
               "converged")  # fmt: skip
    scales = [(lag, k, 50.0 / k, 4.0 / k) for lag in (1.0, 2.0, 5.0, 10.0) for k in (2, 3)]
    test = [
        (state, 5.0 * k, np.exp(-5 * k / life), 0.02, np.exp(-5 * k / life) + 0.01, 0.02)
        for state, (_, life) in STATES.items() for k in (2, 3, 4)
    ]  # fmt: skip
    parts = {
        "transition matrix": (columns, matrix),
        "time scales": (("lag_ps", "process", "time_scale_ps", "error_ps"), scales),
        "Chapman-Kolmogorov": (
            ("state", "time_ps", "predicted", "predicted_error", "estimated", "estimated_error"), test,
        ),
    }  # fmt: skip
    tables = {f"{kind} Li-TFSI": Table(*part, kind, "Li-TFSI") for kind, part in parts.items()}
    lag = np.array([1.0, 2.0, 5.0])
    curve = Curve(lag, 0 * lag + 50.0, 0 * lag + 2.0, "lag", "ps", "time scale", "ps")
    return Measurement(estimates, {"implied_time_scale Li-TFSI": curve}, tables=tables)


def refused_exchange() -> Measurement:
    """Too few transitions for a model."""
    note = "Li(TFSI)4 was left 2 times in 60 ps, 10 needed: run at least 3e+02 ps"
    return Measurement([("exchange_time_scale", "Li-TFSI", Estimate.refused("ps", note, 2.0))])


def clusters() -> Measurement:
    """Two kinds of cluster with a picture each; the population of one has not converged."""
    columns = ("kind", "n_TFSI", "population_percent", "error_percent", "n_independent", "converged")
    kinds = ("Li(TFSI)3 2 mono 1 bi", 3, 71.0, 4.0, 31.0, True), ("Li(TFSI)2 2 mono 0 bi", 2, 9.0, 8.0, 3.0, False)
    return Measurement(
        tables={"kinds Li": Table(columns, list(kinds), "kinds", "Li")}, structures={row[0]: PICTURE for row in kinds}
    )

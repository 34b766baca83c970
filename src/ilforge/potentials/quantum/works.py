"""Works to cite for density functional theory, independent of the program."""

from __future__ import annotations

_PBE = "PBE: Perdew, Burke and Ernzerhof, Phys. Rev. Lett. 77, 3865 (1996)."

WORKS_ON_DISPERSION = (("D3(BJ)", "D3(BJ): Grimme, Ehrlich and Goerigk, J. Comput. Chem. 32, 1456 (2011)."),)
"""Of D3(BJ) alone."""

WORKS_ON_DFT = (
    ("PBE", _PBE),
    ("revPBE", _PBE),
    *WORKS_ON_DISPERSION,
    ("SCAN", "SCAN: Sun, Ruzsinszky and Perdew, Phys. Rev. Lett. 115, 036402 (2015)."),
)
"""Works to cite, by the functional and the dispersion of the method."""

"""Elements of the data that universal models are trained on."""

from ase.data import chemical_symbols

MATERIALS_PROJECT = tuple(chemical_symbols[number] for number in (*range(1, 84), *range(89, 95)))
"""Those of the Materials Project and of MPtrj: H to Pu without Po, At, Rn, Fr, Ra."""

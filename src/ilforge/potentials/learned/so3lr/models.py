"""The model whose weights come with so3krates-torch 0.2.1."""

from ilforge.potentials.learned.outside.potential import Pretrained

MODEL = Pretrained(
    title="SO3LR",
    package="so3krates_torch",
    file="pretrained/so3lr/so3lr.model",
    sha256="b5145564911ff983ed076ccb2bca5ce63454b74c9c8291092695463f1e6732be",
    functional={"": "PBE0+MBD"},
    trained_on="organic molecules and their clusters",
    licence="MIT",
    elements=("H", "C", "N", "O", "F", "P", "S", "Cl"),
    has_dispersion=True,
    core_seconds=0.7,
)

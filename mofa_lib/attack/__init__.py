"""Attacks: the paper's on the code of a face, and those by the sign of a gradient."""

from mofa_lib.attack.distance import WEIGHTS, CodeDistance
from mofa_lib.attack.gradient_sign import fgsm, pgd, quantize, random_signs
from mofa_lib.attack.latent import READINGS, LatentAttack
from mofa_lib.attack.precision import PRECISIONS
from mofa_lib.attack.result import Attacked

__all__ = [
    "PRECISIONS",
    "READINGS",
    "WEIGHTS",
    "Attacked",
    "CodeDistance",
    "LatentAttack",
    "fgsm",
    "pgd",
    "quantize",
    "random_signs",
]

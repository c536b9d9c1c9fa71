"""Attacks: the paper's on the code of a face, those by the sign of a gradient, those that only ask,
one perturbation for all; and whether an attack is any good.
"""

from mofa_lib.attack.adaptive import AdaptiveAttack
from mofa_lib.attack.apgd import apgd
from mofa_lib.attack.check import check_attack
from mofa_lib.attack.distance import WEIGHTS, CodeDistance
from mofa_lib.attack.gradient_sign import fgsm, pgd, quantize, random_signs
from mofa_lib.attack.latent import READINGS, LatentAttack
from mofa_lib.attack.layers import EveryLayer
from mofa_lib.attack.precision import PRECISIONS
from mofa_lib.attack.queries import Asked, nes, square
from mofa_lib.attack.report import AttackReport, Check
from mofa_lib.attack.result import Attacked
from mofa_lib.attack.universal import universal

__all__ = [
    "PRECISIONS",
    "READINGS",
    "WEIGHTS",
    "AdaptiveAttack",
    "Asked",
    "AttackReport",
    "Attacked",
    "Check",
    "CodeDistance",
    "EveryLayer",
    "LatentAttack",
    "apgd",
    "check_attack",
    "fgsm",
    "nes",
    "pgd",
    "quantize",
    "random_signs",
    "square",
    "universal",
]

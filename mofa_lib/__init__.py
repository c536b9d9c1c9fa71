"""A model-based face autoencoder, its attacks and its defences: the library under the book."""

import os

# A thread of OpenMP that has nothing to do spins for a while before it sleeps, and slows whatever
# runs beside it many times over: it is to sleep sooner. Said before torch is imported, which loads
# GNU's OpenMP; what the user has said about waiting stays.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

from mofa_lib.attack import CodeDistance, LatentAttack, apgd, check_attack, fgsm, pgd
from mofa_lib.autoencoder import MoFA, load_pretrained
from mofa_lib.detector import Detector, load_detector
from mofa_lib.face_code import FaceCode
from mofa_lib.face_data import RenderedFaces
from mofa_lib.identity import IdentityClassifier
from mofa_lib.model_files import load_morphable_model
from mofa_lib.photographs import CelebA, PhotoFolder
from mofa_lib.profiles import profile
from mofa_lib.renderer import FaceRenderer

__all__ = [
    "CelebA",
    "CodeDistance",
    "Detector",
    "FaceCode",
    "FaceRenderer",
    "IdentityClassifier",
    "LatentAttack",
    "MoFA",
    "PhotoFolder",
    "RenderedFaces",
    "apgd",
    "check_attack",
    "fgsm",
    "load_detector",
    "load_morphable_model",
    "load_pretrained",
    "pgd",
    "profile",
]

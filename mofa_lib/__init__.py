"""A model-based face autoencoder, its attacks and its defences: the library under the book."""

from mofa_lib.attack import CodeDistance, LatentAttack, fgsm, pgd
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
    "fgsm",
    "load_detector",
    "load_morphable_model",
    "load_pretrained",
    "pgd",
    "profile",
]

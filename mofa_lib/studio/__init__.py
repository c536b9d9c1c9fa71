"""The studio that takes photographs of people who do not exist.

Nothing in here knows the morphable model, the renderer or spherical harmonics as a description of
light: what the autoencoder learns to explain is made in another way than it explains it. Used in
chapter 6 by `RenderedFaces`.
"""

from mofa_lib.studio.photographer import Studio

__all__ = ["Studio"]

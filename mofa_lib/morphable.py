"""A 3D morphable model: faces as a mean plus a few directions of variation. Derived in chapter 3."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mofa_lib.artifacts import digest

TENSORS = {
    "mean_shape": "V 3",
    "shape_basis": "V 3 A",
    "expression_basis": "V 3 D",
    "mean_appearance": "V 3",
    "appearance_basis": "V 3 B",
    "faces": "F 3",
    "landmarks": "68",
}


class MorphableModel(nn.Module):
    """Mean face, three σ-scaled bases, triangles and landmarks.

    A code in units of standard deviations gives
    ``vertices = mean_shape + shape_basis · α + expression_basis · δ`` and
    ``colours = mean_appearance + appearance_basis · β``.

    Attributes:
        mean_shape, shape_basis, expression_basis: mm, in the conventions of the book; the centroid of the mean is 0.
        mean_appearance, appearance_basis: RGB albedo in [0, 1].
        faces: triangles, counter-clockwise seen from outside.
        landmarks: vertices of the 68 iBUG points.
        name: where the model comes from.
        digest: SHA-256 of all of the above; weights remember it.
    Source: Blanz and Vetter 1999; derived in chapter 3.
    """

    mean_shape: Float[Tensor, "V 3"]
    shape_basis: Float[Tensor, "V 3 A"]
    expression_basis: Float[Tensor, "V 3 D"]
    mean_appearance: Float[Tensor, "V 3"]
    appearance_basis: Float[Tensor, "V 3 B"]
    faces: Int[Tensor, "F 3"]
    landmarks: Int[Tensor, "68"]

    def __init__(self, tensors: Mapping[str, Tensor], name: str):
        super().__init__()
        _check(tensors, name)
        for key in TENSORS:
            self.register_buffer(key, tensors[key], persistent=False)
        self.name = name
        self.digest = digest({key: tensors[key] for key in TENSORS})

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Numbers of shape, expression and appearance coefficients."""
        return self.shape_basis.shape[2], self.expression_basis.shape[2], self.appearance_basis.shape[2]

    @property
    def shape_sigma(self) -> Float[Tensor, " A"]:
        """Column norms of the shape basis, mm."""
        return self.shape_basis.flatten(0, 1).norm(dim=0)

    @property
    def expression_sigma(self) -> Float[Tensor, " D"]:
        """Column norms of the expression basis, mm."""
        return self.expression_basis.flatten(0, 1).norm(dim=0)

    @property
    def appearance_sigma(self) -> Float[Tensor, " B"]:
        """Column norms of the appearance basis, colour in [0, 1]."""
        return self.appearance_basis.flatten(0, 1).norm(dim=0)

    def vertices(self, shape: Float[Tensor, "B A"], expression: Float[Tensor, "B D"]) -> Float[Tensor, "B V 3"]:
        """Vertices in mm from shape α and expression δ, both in standard deviations."""
        neutral = torch.addmm(self.mean_shape.flatten(), shape, self.shape_basis.flatten(0, 1).T)
        return torch.addmm(neutral, expression, self.expression_basis.flatten(0, 1).T).unflatten(1, (-1, 3))

    def appearance(self, appearance: Float[Tensor, "B B2"]) -> Float[Tensor, "B V 3"]:
        """RGB albedo of every vertex from appearance β in standard deviations; not clamped."""
        basis = self.appearance_basis.flatten(0, 1)
        return torch.addmm(self.mean_appearance.flatten(), appearance, basis.T).unflatten(1, (-1, 3))

    def __repr__(self) -> str:
        a, d, b = self.sizes
        return (
            f"MorphableModel({self.name!r}: {len(self.mean_shape)} vertices, {len(self.faces)} triangles, "
            f"{a} shape + {d} expression + {b} appearance components)"
        )


def _check(tensors: Mapping[str, Tensor], name: str) -> None:
    missing = [key for key in TENSORS if key not in tensors]
    if missing:
        raise ValueError(f"The face model {name} lacks {', '.join(missing)}.")
    vertices = len(tensors["mean_shape"])
    for key, axes in TENSORS.items():
        tensor, dims = tensors[key], axes.split()
        fits = tensor.ndim == len(dims) and all(
            size == {"V": vertices, "3": 3, "68": 68}.get(dim, size)
            for size, dim in zip(tensor.shape, dims, strict=True)
        )
        if not fits:
            raise ValueError(f"In the face model {name}, {key} has shape {tuple(tensor.shape)} instead of ({axes}).")
        if not tensor.numel() and key not in ("shape_basis", "expression_basis", "appearance_basis"):
            raise ValueError(f"In the face model {name}, {key} is empty.")
        if tensor.is_floating_point() == (key in ("faces", "landmarks")):
            kind = "whole numbers" if key in ("faces", "landmarks") else "floating-point numbers"
            raise ValueError(f"In the face model {name}, {key} must be {kind}, got {tensor.dtype}.")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(f"In the face model {name}, {key} has values that are not finite.")
    for key in ("faces", "landmarks"):
        if tensors[key].min() < 0 or tensors[key].max() >= vertices:
            raise ValueError(f"In the face model {name}, {key} names vertices outside 0 … {vertices - 1}.")

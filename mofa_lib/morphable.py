"""A 3D morphable model: a mean face plus a few directions of variation. Derived in chapter 3."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mofa_lib.artifacts import digest
from mofa_lib.inputs import takes_arrays

TENSORS = {
    "mean_shape": "V 3",
    "shape_basis": "V 3 A",
    "expression_basis": "V 3 D",
    "mean_appearance": "V 3",
    "appearance_basis": "V 3 B",
    "faces": "F 3",
    "landmarks": "68",
}
_INDICES = ("faces", "landmarks")  # whole numbers; the others are floating-point numbers
_BASES = ("shape_basis", "expression_basis", "appearance_basis")  # may have no columns


class MorphableModel(nn.Module):
    """Mean face, three σ-scaled bases, triangles and landmarks.

    A code in units of standard deviations gives
    ``vertices = mean_shape + shape_basis · α + expression_basis · δ`` and
    ``colours = mean_appearance + appearance_basis · β``.

    Args:
        tensors: those of `TENSORS`, by their names.
        name: where they come from.
    Attributes:
        mean_shape, shape_basis, expression_basis: mm, in the conventions of the book; the centroid
            of the mean is 0.
        mean_appearance, appearance_basis: RGB albedo in [0, 1].
        faces: triangles, counter-clockwise seen from outside.
        landmarks: vertices of the 68 iBUG points.
        name: where the model comes from.
        digest: SHA-256 of all of the above, or of the files that they are computed from; weights
            remember it.
    Raises:
        ValueError: the tensors are no face model, as `check` says.
    Examples:
        >>> import torch
        >>> from mofa_lib import load_morphable_model
        >>> model = load_morphable_model()
        >>> shape, expression, appearance = model.sizes
        >>> model.vertices(torch.zeros(2, shape), torch.zeros(2, expression)).shape
        torch.Size([2, 3794, 3])

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
        check(tensors, name)
        for key in TENSORS:
            self.register_buffer(key, tensors[key], persistent=False)
        self.name = name
        self.digest = digest({key: tensors[key] for key in TENSORS})

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Numbers of shape, expression and appearance coefficients."""
        return (
            self.shape_basis.shape[2],
            self.expression_basis.shape[2],
            self.appearance_basis.shape[2],
        )

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

    @takes_arrays
    def vertices(
        self, shape: Float[Tensor, "B A"], expression: Float[Tensor, "B D"]
    ) -> Float[Tensor, "B V 3"]:
        """Vertices in mm from shape α and expression δ, both in standard deviations.

        Raises:
            ValueError: the model has another number of coefficients.
        """
        _check_coefficients("shape", shape, self.shape_basis)
        _check_coefficients("expression", expression, self.expression_basis)
        shape, expression = shape.to(self.mean_shape.dtype), expression.to(self.mean_shape.dtype)
        shape_basis = self.shape_basis.flatten(0, 1)  # (3V, A)
        expression_basis = self.expression_basis.flatten(0, 1)  # (3V, D)
        neutral = torch.addmm(self.mean_shape.flatten(), shape, shape_basis.T)  # (B, 3V)
        flat = torch.addmm(neutral, expression, expression_basis.T)  # (B, 3V)
        return flat.unflatten(1, (-1, 3))  # (B, V, 3)

    @takes_arrays
    def appearance(self, appearance: Float[Tensor, "B B2"]) -> Float[Tensor, "B V 3"]:
        """RGB albedo of every vertex from appearance β in standard deviations; not clamped.

        Raises:
            ValueError: the model has another number of coefficients.
        """
        _check_coefficients("appearance", appearance, self.appearance_basis)
        basis = self.appearance_basis.flatten(0, 1)  # (3V, B2)
        appearance = appearance.to(basis.dtype)
        flat = torch.addmm(self.mean_appearance.flatten(), appearance, basis.T)  # (B, 3V)
        return flat.unflatten(1, (-1, 3))  # (B, V, 3)

    def __repr__(self) -> str:
        shape, expression, appearance = self.sizes
        return (
            f"MorphableModel({self.name!r}: "
            f"{len(self.mean_shape)} vertices, {len(self.faces)} triangles, "
            f"{shape} shape + {expression} expression + {appearance} appearance components)"
        )


@takes_arrays
def principal_components(samples: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean (V, 3) and the first components (V, 3, count), each scaled by its standard deviation.

    Args:
        samples: one shape or colouring a row, (N, V, 3).
        count: of the components; N samples have at most N.
    Raises:
        ValueError: there are fewer than two samples.
    Source: Blanz and Vetter 1999; derived in chapter 3.
    """
    if len(samples) < 2:
        raise ValueError(f"Components need at least two samples, got {len(samples)}.")
    flat = samples.flatten(1).double()  # (N, 3V)
    mean = flat.mean(0)  # (3V,)
    _, singular, directions = torch.linalg.svd(flat - mean, full_matrices=False)
    sigma = singular[:count] / (len(samples) - 1) ** 0.5  # (count,)
    basis = (directions[:count] * sigma[:, None]).T  # (3V, count)
    return mean.float().unflatten(0, (-1, 3)), basis.float().unflatten(0, (-1, 3))


def check(tensors: Mapping[str, Tensor], name: str) -> None:
    """Refuse what is no face model, in one sentence.

    Raises:
        ValueError: a tensor is missing, has another shape or type than `TENSORS` says or values
            that are not finite, or names vertices that are not there, or one twice in a triangle.
    """
    missing = [key for key in TENSORS if key not in tensors]
    if missing:
        raise ValueError(f"The face model {name} lacks {', '.join(missing)}.")

    vertices = len(tensors["mean_shape"])
    for key in TENSORS:
        _check_tensor(key, tensors[key], vertices, f"In the face model {name}, {key}")

    for key in _INDICES:
        if tensors[key].min() < 0 or tensors[key].max() >= vertices:
            raise ValueError(
                f"In the face model {name}, {key} names vertices outside 0 … {vertices - 1}."
            )
    triangles = tensors["faces"]
    if (triangles == triangles.roll(1, 1)).any():
        raise ValueError(f"In the face model {name}, faces has a triangle with a vertex twice.")


def _check_coefficients(group: str, coefficients: Tensor, basis: Float[Tensor, "V 3 K"]) -> None:
    """Refuse another number of coefficients than a basis has columns."""
    count = basis.shape[2]
    if coefficients.ndim != 2 or coefficients.shape[1] != count:
        raise ValueError(
            f"The face model takes {group} coefficients (B, {count}), "
            f"got {tuple(coefficients.shape)}."
        )


def _check_tensor(key: str, tensor: Tensor, vertices: int, which: str) -> None:
    """Refuse a tensor of another shape or type than `TENSORS` says; messages begin with `which`."""
    if not _fits(tensor, TENSORS[key], vertices):
        raise ValueError(f"{which} has shape {tuple(tensor.shape)} instead of ({TENSORS[key]}).")
    if not tensor.numel() and key not in _BASES:
        raise ValueError(f"{which} is empty.")
    if tensor.is_floating_point() == (key in _INDICES):
        kind = "whole numbers" if key in _INDICES else "floating-point numbers"
        raise ValueError(f"{which} must be {kind}, got {tensor.dtype}.")
    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
        raise ValueError(f"{which} has values that are not finite.")


def _fits(tensor: Tensor, axes: str, vertices: int) -> bool:
    """Whether a shape is that of `axes`, in which letters other than V stand for any size."""
    fixed = {"V": vertices, "3": 3, "68": 68}
    wanted = axes.split()
    if tensor.ndim != len(wanted):
        return False
    return all(
        size == fixed.get(axis, size) for size, axis in zip(tensor.shape, wanted, strict=True)
    )

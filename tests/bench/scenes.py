"""What the benchmarks draw: random codes, heads on the screen, and a model as fine as Basel's."""

import torch
from torch import Tensor

from mofa_lib import FaceCode, load_morphable_model
from mofa_lib.camera import Camera, pose
from mofa_lib.face_code import group_sizes
from mofa_lib.morphable import MorphableModel


def codes(model: MorphableModel, batch: int) -> FaceCode:
    """Random faces, a little turned and lit."""
    z = 0.7 * torch.randn(
        batch, sum(group_sizes(model)), generator=torch.Generator().manual_seed(0)
    )
    z[:, -33:] *= 0.1
    return FaceCode.from_vector(z, model)


def on_screen(model: MorphableModel, batch: int, size: int) -> Tensor:
    """Random faces as `rasterize` takes them, (B, V, 3)."""
    code = codes(model, batch)
    return Camera().project(
        pose(model.vertices(code.shape, code.expression), code.rotation, code.translation), size
    )


def subdivide(vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Every triangle in four: new vertices (V, C) halfway along the edges."""
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).sort(1).values
    edges, halfway = edges.unique(dim=0, return_inverse=True)
    ab, bc, ca = (halfway + len(vertices)).view(3, -1)
    a, b, c = faces.T
    quarters = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    faces = torch.cat([torch.stack(corners, 1) for corners in quarters])
    return torch.cat([vertices, vertices[edges].mean(1)]), faces


def large_model(triangles: int = 106_240) -> MorphableModel:
    """The front of the default model, each triangle cut into 16: about 53 000 vertices, 80 + 64 +
    80 components.
    """
    model = load_morphable_model()
    to_the_front = model.mean_shape[model.faces][..., 2].mean(1).argsort(descending=True)
    used, faces = model.faces[to_the_front[: triangles // 16].sort().values].unique(
        return_inverse=True
    )
    parts = {
        "mean_shape": model.mean_shape[..., None],
        "shape_basis": model.shape_basis,
        "expression_basis": model.expression_basis,
        "mean_appearance": model.mean_appearance[..., None],
        "appearance_basis": model.appearance_basis,
    }
    values = torch.cat(list(parts.values()), 2)[used]
    for _ in range(2):
        flat, faces = subdivide(values.flatten(1), faces)
        values = flat.unflatten(1, values.shape[1:])
    split = values.split([part.shape[2] for part in parts.values()], 2)
    tensors = {name: part.squeeze(2).contiguous() for name, part in zip(parts, split, strict=True)}
    return MorphableModel(tensors | {"faces": faces, "landmarks": torch.arange(68)}, "large")

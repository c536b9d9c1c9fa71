"""What follows from a mesh alone: the direction its surface looks in. Derived in chapter 4."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mofa_lib.inputs import takes_arrays


@takes_arrays
def vertex_normals(
    vertices: Float[Tensor, "B V 3"], triangles: Int[Tensor, "F 3"]
) -> Float[Tensor, "B V 3"]:
    """Unit normals: the area-weighted mean of the triangles around each vertex.

    Counter-clockwise triangles, seen from outside, have outward normals.
    """
    batch, count, _ = vertices.shape
    planes = vertices.transpose(1, 2).reshape(3 * batch, count)  # (3B, V)
    corners = triangles.T.contiguous()  # (3, F)
    a, b, c = (
        planes.index_select(1, corner).view(batch, 3, len(triangles)) for corner in corners
    )  # (B, 3, F)

    # The cross product of two edges is as long as twice the area: the weights come by themselves.
    ux, uy, uz = (b - a).unbind(1)  # (B, F) each
    vx, vy, vz = (c - a).unbind(1)
    cross = torch.stack([uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx], 1)  # (B, 3, F)
    around = torch.zeros_like(planes)  # (3B, V)
    for corner in corners:
        around.index_add_(1, corner, cross.flatten(0, 1))

    x, y, z = around.view(batch, 3, count).unbind(1)
    length = (x * x + y * y + z * z + 1e-24).sqrt()  # never 0, where the root has no derivative
    return torch.stack([x / length, y / length, z / length]).movedim(0, -1)  # (B, V, 3)

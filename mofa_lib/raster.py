"""Which triangle does each pixel see, and where inside it? Derived in chapter 5.

Visibility is a z-buffer in plain torch: every front-facing triangle proposes itself at each pixel of its bounding box,
proposals outside the triangle are dropped, and the nearest one wins. The choice is discrete and carries no gradient;
the barycentric coordinates of the winner are computed afterwards and are differentiable.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

_NOTHING = torch.iinfo(torch.int64).max


@dataclass(frozen=True)
class Fragments:
    """What the pixels of a batch of images see.

    Attributes:
        face: index of the visible triangle, −1 where nothing is hit.
        barycentric: perspective-correct weights of its three corners; 0 where nothing is hit.
        depth: distance along the camera's axis; 0 where nothing is hit.
    """

    face: Int[Tensor, "B H W"]
    barycentric: Float[Tensor, "B H W 3"]
    depth: Float[Tensor, "B H W"]


def rasterize(
    screen: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    size: int | tuple[int, int],
    *,
    cull_backfaces: bool = True,
) -> Fragments:
    """Visible triangle, barycentric coordinates and depth at every pixel centre.

    Args:
        screen: pixel x, pixel y (origin top left, pixel centres at +0.5) and depth of each vertex. A triangle with any
            depth ≤ 0 is dropped.
        faces: vertex indices of each triangle. Front faces have negative area in these y-down coordinates.
        size: image side, or (height, width), in pixels.
        cull_backfaces: drop triangles that face away.
    Returns:
        Fragments; `barycentric` and `depth` are differentiable in `screen`. Exact ties go to the lowest index.
    Raises:
        ValueError: `screen` or `faces` do not have the shapes above.
    Source: Catmull 1974 (z-buffer); Pineda 1988 (edge functions); derived in chapter 5.
    """
    if screen.ndim != 3 or screen.shape[-1] != 3 or faces.ndim != 2 or faces.shape[-1] != 3:
        raise ValueError(
            f"rasterize needs screen (B, V, 3) and faces (F, 3), got {tuple(screen.shape)} and {tuple(faces.shape)}."
        )
    height, width = (size, size) if isinstance(size, int) else size
    batch, vertices = screen.shape[:2]
    winner = _visibility(screen.detach(), faces, height, width, cull_backfaces)

    hit = torch.nonzero(winner >= 0).squeeze(1)
    image = torch.div(hit, height * width, rounding_mode="floor")
    corners = faces.index_select(0, winner.index_select(0, hit)) + (image * vertices)[:, None]
    corner = screen.reshape(-1, 3).index_select(0, corners.reshape(-1)).reshape(-1, 3, 3)
    pixel = hit % (height * width)
    x = (pixel % width).to(screen.dtype) + 0.5
    y = torch.div(pixel, width, rounding_mode="floor").to(screen.dtype) + 0.5
    weights, depth = _perspective_weights(corner, x, y)

    barycentric = screen.new_zeros(batch * height * width, 3).index_copy(0, hit, weights)
    depths = screen.new_zeros(batch * height * width).index_copy(0, hit, depth)
    shape = (batch, height, width)
    return Fragments(winner.reshape(shape), barycentric.reshape(*shape, 3), depths.reshape(shape))


def interpolate(
    fragments: Fragments, faces: Int[Tensor, "F 3"], values: Float[Tensor, "B V C"]
) -> Float[Tensor, "B H W C"]:
    """Values given at the vertices, at every pixel; 0 where nothing is hit."""
    batch, height, width = fragments.face.shape
    vertices, channels = values.shape[1:]
    flat = fragments.face.reshape(-1)
    hit = torch.nonzero(flat >= 0).squeeze(1)
    image = torch.div(hit, height * width, rounding_mode="floor")
    corners = faces.index_select(0, flat.index_select(0, hit)) + (image * vertices)[:, None]
    corner = values.reshape(-1, channels).index_select(0, corners.reshape(-1)).reshape(-1, 3, channels)
    weights = fragments.barycentric.reshape(-1, 3).index_select(0, hit)
    pixels = (weights[:, :, None] * corner).sum(1)
    canvas = values.new_zeros(batch * height * width, channels)
    return canvas.index_copy(0, hit, pixels).reshape(batch, height, width, channels)


def _visibility(screen: Tensor, faces: Tensor, height: int, width: int, cull_backfaces: bool) -> Tensor:
    """Index of the nearest triangle at each pixel of the batch, flattened; −1 where nothing is hit."""
    batch, count = len(screen), len(faces)
    corner = screen.index_select(1, faces.reshape(-1)).reshape(batch * count, 3, 3)
    x, y, z = corner.unbind(-1)
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (y[:, 1] - y[:, 0]) * (x[:, 2] - x[:, 0])
    usable = (z > 0).all(1) & ((area < 0) if cull_backfaces else (area != 0)) & torch.isfinite(area)

    # Pixel centres inside the bounding box, clipped to the image: first column, first row, columns, rows.
    left = torch.ceil(x.amin(1) - 0.5).clamp(0, width)
    top = torch.ceil(y.amin(1) - 0.5).clamp(0, height)
    columns = torch.floor(x.amax(1) - 0.5).clamp(-1, width - 1) - left + 1
    rows = torch.floor(y.amax(1) - 0.5).clamp(-1, height - 1) - top + 1
    kept = torch.nonzero(usable & (columns > 0) & (rows > 0)).squeeze(1)

    corner = corner.index_select(0, kept).double()
    left, top, columns, rows = (t.index_select(0, kept).long() for t in (left, top, columns, rows))
    edges, inverse_depth = _edge_functions(corner)

    # One proposal for every pixel of every box.
    boxes = columns * rows
    owner = torch.repeat_interleave(torch.arange(len(kept), device=screen.device), boxes)
    within = torch.arange(len(owner), device=screen.device) - (boxes.cumsum(0) - boxes).index_select(0, owner)
    columns = columns.index_select(0, owner)
    down = torch.div(within, columns, rounding_mode="floor")
    px = left.index_select(0, owner) + within - down * columns
    py = top.index_select(0, owner) + down

    cx, cy = px.double() + 0.5, py.double() + 0.5
    a, b, c = edges.index_select(0, owner).unbind(-1)
    inside = (a * cx[:, None] + b * cy[:, None] + c >= 0).all(1)
    proposal = torch.nonzero(inside).squeeze(1)
    owner, px, py, cx, cy = (t.index_select(0, proposal) for t in (owner, px, py, cx, cy))

    a, b, c = inverse_depth.index_select(0, owner).unbind(-1)
    depth = (1 / (a * cx + b * cy + c)).float()
    triangle = kept.index_select(0, owner)
    image = torch.div(triangle, count, rounding_mode="floor")
    pixel = (image * height + py) * width + px
    # Positive floats sort like their bit patterns, so (depth, index) packs into one integer whose minimum wins.
    key = (depth.view(torch.int32).long() << 32) | (triangle % count)
    nearest = torch.full((batch * height * width,), _NOTHING, dtype=torch.int64, device=screen.device)
    nearest.scatter_reduce_(0, pixel, key, "amin")
    return torch.where(nearest == _NOTHING, -1, nearest & 0xFFFFFFFF)


def _edge_functions(corner: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients (a, b, c) of a·x + b·y + c: three edge functions (≥ 0 inside) and the inverse depth."""
    start, end = corner[:, [1, 2, 0], :2], corner[:, [2, 0, 1], :2]
    a, b = start[..., 1] - end[..., 1], end[..., 0] - start[..., 0]
    c = -(a * start[..., 0] + b * start[..., 1])
    edges = torch.stack([a, b, c], -1)
    area = a[:, 0] * corner[:, 0, 0] + b[:, 0] * corner[:, 0, 1] + c[:, 0]
    edges = edges * area.sign()[:, None, None]
    inverse_depth = (edges / (area.abs()[:, None, None] * corner[:, :, 2:])).sum(1)
    return edges, inverse_depth


def _perspective_weights(corner: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Perspective-correct barycentrics and depth of pixel centres (x, y) in their triangles (P, 3, 3)."""
    dx, dy = corner[..., 0] - x[:, None], corner[..., 1] - y[:, None]
    opposite = torch.stack(
        [
            dx[:, 1] * dy[:, 2] - dx[:, 2] * dy[:, 1],
            dx[:, 2] * dy[:, 0] - dx[:, 0] * dy[:, 2],
            dx[:, 0] * dy[:, 1] - dx[:, 1] * dy[:, 0],
        ],
        1,
    )
    over_depth = opposite / (opposite.sum(1, keepdim=True) * corner[..., 2])
    depth = 1 / over_depth.sum(1)
    return over_depth * depth[:, None], depth

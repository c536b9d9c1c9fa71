"""Which triangle does each pixel see, and where inside it? Derived in chapter 5.

Visibility is a z-buffer in plain torch. The bounding box of every front-facing triangle is cut into tiles of 2 × 2
pixels; edge functions in float32, with some slack, sieve out the pixels that may be inside; the same edge functions in
float64 decide about those, and the nearest triangle wins. The choice is discrete and carries no gradient; the
barycentric coordinates of the winner are computed afterwards and are differentiable.

Coordinates travel as planes, (3, N) rather than (N, 3): on a CPU this makes every step several times as fast.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

_NOTHING = torch.iinfo(torch.int64).max  # its lower 32 bits are −1
_SLACK = 2.0**-20  # 16 roundings of float32, times the area of the box: no edge function there is further off
_CHUNK = 1 << 17  # triangles at a time, over the whole batch: what the caches hold
_Points = Tensor | tuple[Tensor, Tensor]  # planes x, y (and more)


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

    Whether a pixel's centre is inside a triangle is decided exactly as float64 edge functions of the given (float32)
    coordinates decide it. Edges and corners belong to their triangles, so neighbours leave no crack.

    Args:
        screen: pixel x, pixel y (origin top left, pixel centres at +0.5) and depth of each vertex. A triangle with any
            depth ≤ 0 is dropped.
        faces: vertex indices of each triangle. Front faces have negative area in these y-down coordinates.
        size: image side, or (height, width), in pixels.
        cull_backfaces: drop triangles that face away.
    Returns:
        Fragments; `barycentric` and `depth` are differentiable in `screen`. Exact ties go to the lowest index; where
        two depths differ by less than float32 can tell, either may win.
    Raises:
        ValueError: `screen` or `faces` do not have the shapes above.
    Source: Catmull 1974 (z-buffer); Pineda 1988 (edge functions); derived in chapter 5.
    """
    if screen.ndim != 3 or screen.shape[-1] != 3 or faces.ndim != 2 or faces.shape[-1] != 3:
        raise ValueError(
            f"rasterize needs screen (B, V, 3) and faces (F, 3), got {tuple(screen.shape)} and {tuple(faces.shape)}."
        )
    height, width = (size, size) if isinstance(size, int) else size
    planes, faces = screen.movedim(-1, 0).contiguous(), faces.T.contiguous()
    face = _visibility(planes.detach(), faces, height, width, cull_backfaces)

    hit, corners = _corners(face, faces, screen.shape[1])
    x, y, z = (plane.unbind() for plane in planes.view(3, -1).index_select(1, corners.view(-1)).view(3, 3, -1))
    row = torch.arange(height, dtype=screen.dtype, device=screen.device)[:, None] + 0.5
    column = torch.arange(width, dtype=screen.dtype, device=screen.device) + 0.5
    centre = (axis.expand(face.shape).reshape(-1).index_select(0, hit) for axis in (column, row))
    areas = _edge_functions(*zip(x, y, strict=True), *centre)
    over_depth = [area / depth for area, depth in zip(areas, z, strict=True)]
    total = over_depth[0] + over_depth[1] + over_depth[2]
    weights = torch.stack([part / total for part in over_depth])
    depth = (areas[0] + areas[1] + areas[2]) / total

    barycentric = screen.new_zeros(3, face.numel()).index_copy_(1, hit, weights).view(3, *face.shape)
    depths = screen.new_zeros(face.numel()).index_copy_(0, hit, depth).view(face.shape)
    return Fragments(face, barycentric.movedim(0, -1), depths)


def interpolate(
    fragments: Fragments, faces: Int[Tensor, "F 3"], values: Float[Tensor, "B V C"]
) -> Float[Tensor, "B H W C"]:
    """Values given at the vertices, at every pixel; 0 where nothing is hit."""
    face, channels = fragments.face, values.shape[2]
    hit, corners = _corners(face, faces.T, values.shape[1])
    u, v, w = fragments.barycentric.movedim(-1, 0).reshape(3, -1).index_select(1, hit).unbind()
    planes = values.movedim(-1, 0).reshape(channels, -1)
    at_corners = planes.index_select(1, corners.view(-1)).view(channels, 3, -1)
    pixels = torch.stack([u * a + v * b + w * c for a, b, c in (plane.unbind() for plane in at_corners.unbind())])
    canvas = values.new_zeros(channels, face.numel()).index_copy_(1, hit, pixels)
    return canvas.view(channels, *face.shape).movedim(0, -1)


def _corners(face: Tensor, faces: Tensor, vertices: int) -> tuple[Tensor, Tensor]:
    """Flat indices of the pixels that see a triangle (P,), and of its corners among the vertices of all images (3, P).

    From here on `faces` is (3, F).
    """
    hit = torch.nonzero(face.reshape(-1) >= 0).squeeze(1)
    first = torch.arange(len(face), device=face.device)[:, None, None] * vertices
    first = first.expand(face.shape).reshape(-1).index_select(0, hit)
    seen = face.reshape(-1).index_select(0, hit)
    return hit, torch.stack([corner.index_select(0, seen) + first for corner in faces])


def _edge_functions(a: _Points, b: _Points, c: _Points, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Twice the areas that the points (x, y) make with the edges opposite a, b and c; all ≤ 0 inside a front face."""
    (ax, ay), (bx, by), (cx, cy) = ((corner[0] - x, corner[1] - y) for corner in (a, b, c))
    return bx * cy - by * cx, cx * ay - cy * ax, ax * by - ay * bx


def _visibility(planes: Tensor, faces: Tensor, height: int, width: int, cull_backfaces: bool) -> Tensor:
    """Index of the nearest triangle at each pixel, −1 where nothing is hit; `planes` are x, y and depth, (3, B, V)."""
    device, (_, batch, vertices) = faces.device, planes.shape
    planes = torch.cat([planes[:2].masked_fill(planes[2] <= 0, torch.nan), planes[2:]]).view(-1, vertices)
    number = torch.arange(faces.shape[1], device=device)
    if not cull_backfaces:  # then each triangle has two front faces, one the mirror image of the other
        faces, number = torch.cat([faces, faces.flip(0)], 1), number.repeat(2)
    # Tiles may stick out of the picture to the right and below: the buffer has a margin.
    buffer = torch.full((batch, height + 1, width + 1), _NOTHING, device=device)
    image = torch.arange(batch, device=device)[:, None] * buffer[0].numel()
    size = max(1, _CHUNK // batch)
    for some, numbers in zip(faces.split(size, 1), number.split(size), strict=True):
        a, b, c = (planes.index_select(1, corner).view(3, -1) for corner in some)
        triangle, pixel = _sieve(a, b, c, height, width)
        a, b, c = (corner.index_select(1, triangle).double() for corner in (a, b, c))
        w0, w1, w2 = _edge_functions(a, b, c, *(pixel + 0.5))
        area = w0 + w1 + w2
        outside = (torch.maximum(torch.maximum(w0, w1), w2) > 0) | (area >= 0)
        depth = (area / (w0 / a[2] + w1 / b[2] + w2 / c[2])).float()
        # Positive floats sort like their bit patterns, so (depth, index) packs into one integer whose minimum wins.
        index = numbers.expand(batch, -1).reshape(-1).index_select(0, triangle)
        key = ((depth.view(torch.int32).long() << 32) | index).masked_fill_(outside, _NOTHING)
        first = image.expand(-1, numbers.shape[0]).reshape(-1).index_select(0, triangle)
        place = (pixel[1] * (width + 1) + pixel[0]).long().add_(first)
        buffer.view(-1).scatter_reduce_(0, place, key, "amin")
    return buffer[:, :height, :width].int().long()


def _sieve(a: Tensor, b: Tensor, c: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Pixels that may be inside front-facing triangles with corners a, b, c: triangle (N,), column and row (2, N)."""
    a, b, c = a[:2], b[:2], c[:2]
    low, high = torch.minimum(torch.minimum(a, b), c), torch.maximum(torch.maximum(a, b), c)
    extent = high - low + 2
    slack = extent[0] * extent[1] * _SLACK
    twice_area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])

    # The pixel centres in the bounding box, clipped to the picture, in tiles of 2 × 2.
    first = low.sub_(0.5).ceil_().clamp_(min=0)
    last = torch.minimum(high.sub_(0.5).floor_(), first.new_tensor([[width - 1], [height - 1]]))
    across, down = last.sub_(first).div_(2).floor_().add_(1).clamp_(min=0)
    tiles = (across * down).masked_fill_((twice_area <= slack).logical_not_(), 0).long()
    triangle = torch.repeat_interleave(torch.arange(tiles.shape[0], device=a.device), tiles)
    before = (tiles.cumsum(0) - tiles).index_select(0, triangle)
    within = (torch.arange(triangle.shape[0], device=a.device) - before).to(a.dtype)
    across = across.index_select(0, triangle)
    row = ((within + 0.5) / across).floor_()
    corner = first.index_select(1, triangle)
    corner[0].add_(within.sub_(row * across), alpha=2)
    corner[1].add_(row, alpha=2)

    # Edge functions are linear: one step to the right, or down, adds the same number everywhere.
    slack = slack.index_select(0, triangle)
    a, b, c = (t.index_select(1, triangle) for t in (a, b, c))
    here = _edge_functions(a, b, c, *(corner + 0.5))
    right = [w + (p[1] - q[1]) for w, p, q in zip(here, (b, c, a), (c, a, b), strict=True)]
    step = [q[0] - p[0] for p, q in ((b, c), (c, a), (a, b))]
    below = [[w + s for w, s in zip(edges, step, strict=True)] for edges in (here, right)]
    inside = [torch.maximum(torch.maximum(w0, w1), w2) <= slack for w0, w1, w2 in (here, right, *below)]
    quarter, tile = torch.nonzero(torch.stack(inside)).unbind(1)  # 0 … 3: here, right, below, below right
    pixel = corner.index_select(1, tile).double()
    pixel[0].add_(quarter & 1)
    pixel[1].add_(quarter >> 1)
    return triangle.index_select(0, tile), pixel

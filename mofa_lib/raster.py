"""Which triangle does each pixel see, and where inside it? Derived in chapter 5.

Visibility is a z-buffer in plain torch. The bounding box of every front-facing triangle is cut into
tiles of 2 × 2 pixels; edge functions in float32, with some slack, sieve out the pixels that may be
inside; the same edge functions in float64 decide about those, and the nearest triangle wins. The
choice is discrete and carries no gradient; the barycentric coordinates of the winner are computed
afterwards and are differentiable.

Coordinates travel as planes, (3, N) rather than (N, 3): on a CPU this makes every step several
times as fast. From `_corners` on, triangles do so, too: (3, F).

Letters in the shapes: B images, V vertices, F triangles, N triangles of one chunk in all images,
T tiles, M pairs of a triangle and a pixel that it may cover, P pixels that see a triangle.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mofa_lib.inputs import takes_arrays, whole

_NOTHING = torch.iinfo(torch.int64).max  # in the buffer: no triangle here
_INDEX = (1 << 32) - 1  # the lower half of a key in the buffer
# 16 roundings of float32, times the area of the box: no edge function there is further off.
_SLACK = 2.0**-20
_CHUNK = 1 << 17  # triangles at a time, over the whole batch: what the caches hold
_Points = Tensor | tuple[Tensor, Tensor]  # planes x, y (and more)
_Opaque = Callable[[Tensor, Tensor], Tensor]


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


@takes_arrays
def rasterize(
    screen: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    size: int | tuple[int, int],
    *,
    cull_backfaces: bool = True,
    opaque: _Opaque | None = None,
) -> Fragments:
    """Visible triangle, barycentric coordinates and depth at every pixel centre.

    Whether a pixel's centre is inside a triangle is decided exactly as float64 edge functions of
    the given (float32) coordinates decide it. Edges and corners belong to their triangles, so
    neighbours leave no crack.

    Args:
        screen: pixel x, pixel y (origin top left, pixel centres at +0.5) and depth of each vertex.
            A triangle with any depth ≤ 0 is dropped.
        faces: vertex indices of each triangle. Front faces have negative area in these y-down
            coordinates.
        size: image side, or (height, width), in pixels.
        cull_backfaces: drop triangles that face away.
        opaque: told triangles, (M,), and the weights of their corners, (3, M), it says which of
            these places are seen, (M,), as strands of hair are, and not the gaps between them. It
            needs `cull_backfaces`: else the corners of a triangle may come in reverse.
    Returns:
        Fragments; `barycentric` and `depth` are differentiable in `screen`. Exact ties go to the
        lowest index; where two depths differ by less than float32 can tell, either may win.
    Raises:
        TypeError: `size` is no whole number.
        ValueError: it is 0 or less, or `screen` or `faces` do not have the shapes above.
    Examples:
        >>> import torch
        >>> from mofa_lib.raster import rasterize
        >>> screen = torch.tensor([[[0.0, 0.0, 1.0], [0.0, 3.0, 1.0], [3.0, 3.0, 1.0]]])
        >>> rasterize(screen, torch.tensor([[0, 1, 2]]), size=3).face
        tensor([[[ 0, -1, -1],
                 [ 0,  0, -1],
                 [ 0,  0,  0]]])

    Source: Catmull 1974 (z-buffer); Pineda 1988 (edge functions); derived in chapter 5.
    """
    if screen.ndim != 3 or screen.shape[-1] != 3 or faces.ndim != 2 or faces.shape[-1] != 3:
        shapes = f"{tuple(screen.shape)} and {tuple(faces.shape)}"
        raise ValueError(f"rasterize needs screen (B, V, 3) and faces (F, 3), got {shapes}.")
    sides = size if isinstance(size, tuple) else (size, size)
    height, width = (whole("size", side, 1) for side in sides)
    planes = screen.movedim(-1, 0).contiguous()  # (3, B, V): x, y, depth
    triangles = faces.T.contiguous()  # (3, F)
    face = _visibility(planes.detach(), triangles, height, width, cull_backfaces, opaque)

    # What follows has a gradient, and looks only at the pixels that see a triangle.
    pixels, corners = _corners(face, triangles, screen.shape[1])  # (P,), (3, P)
    at_corners = planes.view(3, -1).index_select(1, corners.view(-1)).view(3, 3, -1)
    (ax, bx, cx), (ay, by, cy), (az, bz, cz) = (axis.unbind() for axis in at_corners)  # (P,) each
    x, y = _centres(face, pixels, screen.dtype)  # (P,) each

    # On the screen not the depth but its inverse is linear: each area is divided by its depth.
    w0, w1, w2 = _edge_functions((ax, ay), (bx, by), (cx, cy), x, y)
    over_depth = (w0 / az, w1 / bz, w2 / cz)
    total = over_depth[0] + over_depth[1] + over_depth[2]
    weights = torch.stack([share / total for share in over_depth])  # (3, P)
    depth = (w0 + w1 + w2) / total  # (P,)

    barycentric = screen.new_zeros(3, face.numel()).index_copy_(1, pixels, weights)  # (3, B·H·W)
    depths = screen.new_zeros(face.numel()).index_copy_(0, pixels, depth)  # (B·H·W,)
    return Fragments(
        face=face,
        barycentric=barycentric.view(3, *face.shape).movedim(0, -1),
        depth=depths.view(face.shape),
    )


@takes_arrays
def interpolate(
    fragments: Fragments, faces: Int[Tensor, "F 3"], values: Float[Tensor, "B V C"]
) -> Float[Tensor, "B H W C"]:
    """Values given at the vertices, at every pixel; 0 where nothing is hit."""
    face, channels = fragments.face, values.shape[2]
    pixels, corners = _corners(face, faces.T, values.shape[1])  # (P,), (3, P)
    weights = fragments.barycentric.movedim(-1, 0).reshape(3, -1)  # (3, B·H·W)
    u, v, w = weights.index_select(1, pixels).unbind()  # (P,) each

    planes = values.movedim(-1, 0).reshape(channels, -1)  # (C, B·V)
    at_corners = planes.index_select(1, corners.view(-1)).view(channels, 3, -1)  # (C, 3, P)
    mixed = [u * a + v * b + w * c for a, b, c in at_corners]

    mixed = torch.stack(mixed)  # (C, P)
    canvas = mixed.new_zeros(channels, face.numel())  # (C, B·H·W)
    canvas.index_copy_(1, pixels, mixed)
    return canvas.view(channels, *face.shape).movedim(0, -1)


def _corners(face: Tensor, triangles: Tensor, vertices: int) -> tuple[Tensor, Tensor]:
    """The pixels that see a triangle, and its corners: flat indices, (P,) and (3, P).

    Args:
        face: index of the visible triangle, −1 where nothing is hit, (B, H, W).
        triangles: (3, F).
        vertices: their number in one image; the corners count through all images.
    """
    flat = face.reshape(-1)  # (B·H·W,)
    pixels = torch.nonzero(flat >= 0).squeeze(1)  # (P,)
    seen = flat.index_select(0, pixels)  # (P,)

    first = torch.arange(len(face), device=face.device) * vertices  # (B,): an image's first vertex
    first = first[:, None, None].expand(face.shape).reshape(-1).index_select(0, pixels)  # (P,)
    return pixels, torch.stack([corner.index_select(0, seen) + first for corner in triangles])


def _centres(face: Tensor, pixels: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """x and y, (P,) each, of the centres of some pixels, given by flat indices in `face`."""
    height, width = face.shape[1:]
    row = torch.arange(height, dtype=dtype, device=face.device)[:, None] + 0.5  # (H, 1)
    column = torch.arange(width, dtype=dtype, device=face.device) + 0.5  # (W,)
    everywhere = [axis.expand(face.shape).reshape(-1) for axis in (column, row)]  # (B·H·W,) each
    return [axis.index_select(0, pixels) for axis in everywhere]


def _edge_functions(
    a: _Points, b: _Points, c: _Points, x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Twice the areas that the points (x, y) make with the edges opposite a, b and c.

    All three are ≤ 0 inside a front face, and their sum is twice its area.
    """
    ax, ay = a[0] - x, a[1] - y
    bx, by = b[0] - x, b[1] - y
    cx, cy = c[0] - x, c[1] - y
    return bx * cy - by * cx, cx * ay - cy * ax, ax * by - ay * bx


def _visibility(
    planes: Tensor,
    triangles: Tensor,
    height: int,
    width: int,
    cull_backfaces: bool,
    opaque: _Opaque | None,
) -> Tensor:
    """Index of the nearest triangle at each pixel, (B, H, W); −1 where nothing is hit.

    Args:
        planes: x, y and depth of the vertices, (3, B, V).
        triangles: (3, F).
        height, width, cull_backfaces, opaque: as in `rasterize`.
    """
    device, (_, batch, vertices) = triangles.device, planes.shape
    # A vertex behind the camera has no place: its triangles fail every comparison in the sieve.
    screen = planes[:2].masked_fill(planes[2] <= 0, torch.nan)  # (2, B, V)
    planes = torch.cat([screen, planes[2:]]).view(3 * batch, vertices)  # (3·B, V)

    number = torch.arange(triangles.shape[1], device=device)  # (F,)
    if not cull_backfaces:
        # Then each triangle has two front faces, one the mirror image of the other.
        triangles = torch.cat([triangles, triangles.flip(0)], 1)  # (3, 2F)
        number = number.repeat(2)  # (2F,)

    # Tiles may stick out of the picture to the right and below: the buffer has a margin.
    buffer = torch.full((batch, height + 1, width + 1), _NOTHING, device=device)
    starts = torch.arange(batch, device=device)[:, None] * buffer.stride(0)  # (B, 1): its images
    chunk = max(1, _CHUNK // max(1, batch))
    for corners, numbers in zip(triangles.split(chunk, 1), number.split(chunk), strict=True):
        # First the sieve, in the precision given: M pairs of a triangle, 0 … N − 1, and a pixel.
        a, b, c = (planes.index_select(1, corner).view(3, -1) for corner in corners)  # (3, N) each
        triangle, pixel = _sieve(a, b, c, height, width)  # (M,), (2, M)

        # Then the test in float64, whose results compete for the pixel's place in the buffer.
        a, b, c = (corner.index_select(1, triangle).double() for corner in (a, b, c))  # (3, M) each
        index = numbers.expand(batch, -1).reshape(-1).index_select(0, triangle)  # (M,)
        key = _keys(a, b, c, pixel, index, opaque)  # (M,)
        start = starts.expand(-1, numbers.shape[0]).reshape(-1).index_select(0, triangle)  # (M,)
        place = (pixel[1] * (width + 1) + pixel[0]).long().add_(start)  # (M,)
        buffer.view(-1).scatter_reduce_(0, place, key, "amin")

    nearest = buffer[:, :height, :width]
    return torch.where(nearest == _NOTHING, -1, nearest & _INDEX)


def _keys(
    a: Tensor, b: Tensor, c: Tensor, pixel: Tensor, index: Tensor, opaque: _Opaque | None
) -> Tensor:
    """Depth and index of a triangle at a pixel in one integer, (M,): the least is what is seen.

    Args:
        a: x, y and depth of a corner, float64, (3, M); so are b and c.
        pixel: column and row, float64, (2, M).
        index: of the triangle, (M,).
        opaque: as in `rasterize`.
    Returns:
        The bits of the depth above those of the index; `_NOTHING` where the pixel is outside, or
        sees through.
    """
    w0, w1, w2 = _edge_functions(a, b, c, *(pixel + 0.5))  # (M,) each
    area = w0 + w1 + w2
    outside = (_largest(w0, w1, w2) > 0) | (area >= 0)
    over_depth = (w0 / a[2], w1 / b[2], w2 / c[2])
    total = over_depth[0] + over_depth[1] + over_depth[2]
    if opaque:
        outside |= ~opaque(index, (torch.stack(over_depth) / total).float())
    depth = (area / total).float()

    # Positive floats sort like their bit patterns. At equal depth the lowest index wins.
    bits = depth.view(torch.int32).long()
    return ((bits << 32) | index).masked_fill_(outside, _NOTHING)


def _sieve(a: Tensor, b: Tensor, c: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Pairs of a front-facing triangle and a pixel that may be inside it.

    Args:
        a: x, y and depth of a corner, (3, N); so are b and c.
        height, width: of the picture, in pixels.
    Returns:
        The triangle, (M,), and the pixel's column and row, float64, (2, M).
    """
    a, b, c = a[:2], b[:2], c[:2]  # (2, N) each
    low = torch.minimum(torch.minimum(a, b), c)  # (2, N): the bounding box
    high = torch.maximum(torch.maximum(a, b), c)  # (2, N)
    extent = high - low + 2  # a tile may reach beyond the box
    slack = extent[0] * extent[1] * _SLACK  # (N,)
    twice_area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    front = twice_area <= slack  # (N,); false where a corner has no place
    triangle, tile = _tiles(low, high, front, height, width)  # (T,), (2, T)

    slack = slack.index_select(0, triangle)  # (T,)
    a, b, c = (corner.index_select(1, triangle) for corner in (a, b, c))  # (2, T) each
    # The four pixels of a tile: 0 and 1, to its right, above 2 and 3.
    quarters = _edge_functions_in_tiles(a, b, c, tile)  # 4 × 3 × (T,)
    near = torch.stack([_largest(*edges) <= slack for edges in quarters])  # (4, T)
    quarter, at = torch.nonzero(near).unbind(1)  # (M,) each
    pixel = tile.index_select(1, at).double()  # (2, M)
    pixel[0].add_(quarter & 1)
    pixel[1].add_(quarter >> 1)
    return triangle.index_select(0, at), pixel


def _tiles(
    low: Tensor, high: Tensor, front: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """Tiles of 2 × 2 pixels over the pixel centres in each triangle's box, clipped to the picture.

    Args:
        low: least x and y of each triangle, (2, N); overwritten.
        high: largest x and y, (2, N); overwritten.
        front: whether a triangle gets any tiles, (N,).
        height, width: of the picture, in pixels.
    Returns:
        Of each tile the triangle, (T,), and the column and row of its upper left pixel, (2, T).
    """
    first = low.sub_(0.5).ceil_().clamp_(min=0)  # (2, N): column and row of a pixel
    last = torch.minimum(high.sub_(0.5).floor_(), first.new_tensor([[width - 1], [height - 1]]))
    across, down = last.sub_(first).div_(2).floor_().add_(1).clamp_(min=0)  # (N,) each, in tiles
    count = (across * down).masked_fill_(front.logical_not(), 0).long()  # (N,)

    # Each triangle as often as it has tiles, which are numbered from 0, row after row.
    # (Sizes by .shape, never len: where torch only traces, they may have no value yet.)
    device = low.device
    triangle = torch.repeat_interleave(torch.arange(count.shape[0], device=device), count)  # (T,)
    before = (count.cumsum(0) - count).index_select(0, triangle)  # (T,): of earlier triangles
    number = (torch.arange(triangle.shape[0], device=device) - before).to(low.dtype)  # (T,)
    across = across.index_select(0, triangle)  # (T,)
    row = ((number + 0.5) / across).floor_()  # with a half, no rounding can reach a whole number

    tile = first.index_select(1, triangle)  # (2, T)
    tile[0].add_(number.sub_(row * across), alpha=2)
    tile[1].add_(row, alpha=2)
    return triangle, tile


def _edge_functions_in_tiles(
    a: Tensor, b: Tensor, c: Tensor, tile: Tensor
) -> list[Sequence[Tensor]]:
    """Edge functions, (T,) each, at four pixels: the upper left one, right, below, below right.

    They are linear: one step to the right, or down, adds the same number everywhere.

    Args:
        a: x and y of a corner, (2, T); so are b and c.
        tile: column and row of the upper left pixel, (2, T).
    """
    here = _edge_functions(a, b, c, *(tile + 0.5))
    opposite = ((b, c), (c, a), (a, b))  # the edge from p to q is opposite a, b, c
    right = [w + (p[1] - q[1]) for w, (p, q) in zip(here, opposite, strict=True)]
    step = [q[0] - p[0] for p, q in opposite]
    below = [w + s for w, s in zip(here, step, strict=True)]
    below_right = [w + s for w, s in zip(right, step, strict=True)]
    return [here, right, below, below_right]


def _largest(w0: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
    return torch.maximum(torch.maximum(w0, w1), w2)

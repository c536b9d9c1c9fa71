"""Short hair as fur: shells over the skin, pierced by hairs of many lengths.

Of the shell at height t a point is seen where the hair that grows there is longer than t. Source:
Kajiya and Kay 1989; shells after Lengyel and others 2001.
"""

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage, sparse
from torch import Tensor

from mofa_lib.mesh import vertex_normals
from mofa_lib.studio.atlas import COLUMNS, ROWS
from mofa_lib.studio.heads import Head, HeadShapes
from mofa_lib.studio.noise import smooth_field
from mofa_lib.studio.strands import Strands

MOST_SHELLS = 10
FINER = 2  # points of fur for a texel of the atlas, each way
BALD = 0.25  # share of the points from which no hair grows


class Fur:
    """Grows fur on heads.

    Attributes:
        points: the fine vertices of the mean head, mm.
        places: texture coordinates of the corners of the fine triangles.
    """

    def __init__(self, shapes: HeadShapes):
        self.shapes = shapes
        self.points = (shapes.fine @ shapes.mean.numpy()).astype(np.float32)  # (F, 3)
        self.places = _fine_places(shapes.texture_coordinates)
        self._page = _page()

    def grow(
        self,
        head: Head,
        density: Float[np.ndarray, " F"],
        length: float,
        comb: tuple[float, float, float],
        colour: Float[Tensor, "3"],
        rng: np.random.Generator,
    ) -> Strands:
        """Fur on the fine vertices of a head.

        Args:
            density: how much of it grows at each vertex, in [0, 1].
            length: of the longest hairs, mm.
            comb: how far their tips lean, in shares of the length: right, up, out.
            colour: of their tips, linear RGB.
        """
        fine = (self.shapes.fine @ head.neutral.numpy()).astype(np.float32)
        triangles = self.shapes.fine_triangles
        normals = vertex_normals(torch.from_numpy(fine)[None], triangles)[0].numpy()
        furry = (torch.from_numpy(density)[triangles] > 0.02).any(1)
        used, numbers = triangles[furry].unique(return_inverse=True)
        thin = 1 - torch.from_numpy(density).float()[triangles[furry]]  # (T, 3)
        used, places = used.numpy(), self.places[furry]
        uneven = length * (1 + smooth_field(self.points[used], rng, 0.15, 22))

        count = int(np.clip(3 + length, 4, MOST_SHELLS))
        points, level, shade = [], [], []
        for t in np.arange(1, count + 1) / count:
            lean = t * np.array(comb, np.float32)
            way = normals[used] * (1 - 0.5 * np.linalg.norm(lean)) + lean
            points.append(fine[used] + t * uneven[:, None] * way)
            level.append((BALD + 0.7 * t + thin).clamp(max=1.01))
            shade.append(torch.full((len(thin), 1), 0.68 + 0.42 * t))  # roots lie in the dark
        shells = torch.arange(count)[:, None, None] * len(used)
        return Strands(
            points=torch.from_numpy(np.concatenate(points)).float(),
            normals=torch.from_numpy(normals[used]).repeat(count, 1),
            follow=sparse.vstack([self.shapes.fine[used]] * count).tocsr(),
            triangles=(numbers + shells).flatten(0, 1),
            places=places.repeat(count, 1, 1),
            level=torch.cat(level),
            colour=torch.cat(shade).float() * colour,
            skin=torch.zeros(count * len(numbers)),
            page=self._page,
        )


def _page() -> Float[Tensor, "2 R S"]:
    """Lightness of the hair at each point, and its length, which is even in [0, 1]."""
    rng = np.random.default_rng(11)
    size = FINER * ROWS, FINER * COLUMNS
    noise = ndimage.gaussian_filter(rng.standard_normal(size, np.float32), (1.6, 0.6))
    ranks = noise.ravel().argsort().argsort().reshape(size) / noise.size
    light = ndimage.gaussian_filter(rng.standard_normal(size, np.float32), (2.5, 1))
    light = (0.85 + 0.13 * light / light.std()).clip(0.3, 1.4)
    return torch.from_numpy(np.stack([light, ranks]).astype(np.float32))


def _fine_places(places: Float[Tensor, "G 3 2"]) -> Float[Tensor, "F 3 2"]:
    """Texture coordinates of the corners of the fine triangles, in the order of `butterfly`."""
    a, b, c = places.unbind(1)
    ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
    quarters = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return torch.cat([torch.stack(corners, 1) for corners in quarters])

"""The texture atlas of a head: where each point of its surface lies in a flat picture.

A *texel* is a pixel of the atlas. Values at vertices spread over the texels; a finished texture is
read back at any point of the surface, or once at every vertex. Used in chapter 3.
"""

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage, sparse
from torch import Tensor
from torch.nn import functional as F

from mofa_lib.raster import Fragments, rasterize
from mofa_lib.studio.heads import HeadShapes

ROWS, COLUMNS = 768, 1024  # about 1.7 texels a millimetre on the face

# Patches beside the head's charts, (rows, columns): one eyeball each, the bag of the mouth, and
# what people wear.
LEFT_EYEBALL = slice(528, 656), slice(8, 136)
RIGHT_EYEBALL = slice(528, 656), slice(144, 272)
EYES = LEFT_EYEBALL, RIGHT_EYEBALL
EYE_TEXELS = 4.0  # a millimetre, in these two
MOUTH = slice(690, 750), slice(200, 260)
TEETH = slice(8, 64), slice(8, 104)
FRAMES = slice(8, 64), slice(908, 956)
CLOTH = slice(528, 768), slice(656, 1024)


class Atlas:
    """The texels of the head: the triangle under each, and its place on the mean head.

    Attributes:
        texels: flat indices of the texels that lie on the head, (P,).
        points: their places on the mean head, mm, (P, 3).
    """

    def __init__(self, shapes: HeadShapes):
        charts = _draw_charts(shapes)
        triangle = charts.face.flatten()  # (R·S,), −1 beside the charts
        self.texels = torch.nonzero(triangle >= 0).squeeze(1).numpy()  # (P,)

        # Row p holds the barycentric weights of the three vertices around texel p.
        corners = shapes.triangles[triangle[self.texels]].numpy()  # (P, 3)
        weights = charts.barycentric.reshape(-1, 3)[self.texels].numpy().astype(np.float32)
        starts = np.arange(0, weights.size + 1, 3)
        size = len(corners), len(shapes.mean)
        self._interpolation = sparse.csr_matrix((weights.ravel(), corners.ravel(), starts), size)

        self._nearest = self._nearest_texels()
        self.points = self.spread(shapes.mean.numpy())

    def spread(self, values: Float[np.ndarray, "H C"]) -> Float[np.ndarray, "P C"]:
        """Values at the vertices, at every texel."""
        return self._interpolation @ values

    def unfold(self, colours: Float[np.ndarray, "P C"]) -> Float[np.ndarray, "R S C"]:
        """Colours of the texels as a picture without holes."""
        return colours[self._nearest]

    def _nearest_texels(self) -> np.ndarray:
        """For each pixel of the atlas the number of the nearest texel on the head, (R, S).

        Around the charts, texels repeat it: reading across a border then finds skin.
        """
        empty = np.ones((ROWS, COLUMNS), bool)
        empty.flat[self.texels] = False
        rows, columns = ndimage.distance_transform_edt(
            empty, return_distances=False, return_indices=True
        )
        number = np.zeros(ROWS * COLUMNS, np.int64)
        number[self.texels] = np.arange(len(self.texels))
        return number[rows * COLUMNS + columns]


def _draw_charts(shapes: HeadShapes) -> Fragments:
    """The triangles of the head in the plane of the atlas, each with corners of its own."""
    places = shapes.texture_coordinates * torch.tensor([COLUMNS, ROWS])  # (G, 3, 2)
    # Where the chart of an eyeball folds, its front wins: depth falls with z.
    depth = 1000 - shapes.mean[shapes.triangles.flatten(), 2:]  # (3G, 1)
    corners = torch.cat([places.flatten(0, 1), depth], 1)  # (3G, 3)
    triangles = torch.arange(len(corners)).reshape(-1, 3)
    return rasterize(corners[None], triangles, (ROWS, COLUMNS), cull_backfaces=False)


def read_texture(
    texture: Float[Tensor, "C R S"],
    texture_coordinates: Float[Tensor, "G 3 2"],
    fragments: Fragments,
) -> Float[Tensor, "B H W C"]:
    """What each pixel sees of a texture, bilinearly; arbitrary where nothing is hit.

    Args:
        texture_coordinates: of the corners of each triangle, in [0, 1] of the atlas, to the right
            and down.
    """
    triangle = fragments.face.clamp(min=0).flatten()  # (BHW,)
    corners = texture_coordinates.index_select(0, triangle)  # (BHW, 3, 2)
    weights = fragments.barycentric.reshape(-1, 3, 1)  # (BHW, 3, 1)
    places = (weights * corners).sum(1).reshape(*fragments.face.shape, 2)  # (B, H, W, 2)

    batch = texture.expand(len(places), -1, -1, -1)  # (B, C, R, S)
    grid = 2 * places - 1  # grid_sample counts from −1 to 1
    return F.grid_sample(batch, grid, align_corners=False).permute(0, 2, 3, 1)


def texture_at_vertices(
    texture: Float[Tensor, "C R S"], shapes: HeadShapes
) -> Float[Tensor, "H C"]:
    """A texture averaged around each vertex: what vertex colours can show of it."""
    # A vertex on a seam has several places in the atlas. NumPy takes the last one; of torch's
    # threads now this one would win, now that.
    places = np.zeros((len(shapes.mean), 2), np.float32)  # (H, 2)
    places[shapes.triangles.flatten().numpy()] = shapes.texture_coordinates.flatten(0, 1).numpy()
    blurred = F.avg_pool2d(texture[None], 5, 1, padding=2, count_include_pad=False)
    grid = 2 * torch.from_numpy(places)[None, None] - 1  # (1, 1, H, 2)
    return F.grid_sample(blurred, grid, align_corners=False)[0, :, 0].T

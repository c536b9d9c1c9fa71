"""The mark for `mofa_lib.raster.rasterize`: a plain z-buffer, one loop, compiled by numba for one
thread.
"""

import numba
import numpy as np


@numba.njit
def zbuffer(
    screen: np.ndarray, faces: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Visible triangle, barycentric coordinates and depth, with the conventions of `rasterize`;
    front faces only.

    Args:
        screen: (B, V, 3), float32.
        faces: (F, 3).
    """
    batch = len(screen)
    face = np.full((batch, height, width), -1)
    weights = np.zeros((batch, height, width, 3), np.float32)
    nearest = np.full((batch, height, width), np.inf)
    for image in range(batch):
        for index in range(len(faces)):
            a, b, c = faces[index]
            ax, ay, az = (
                np.float64(screen[image, a, 0]),
                np.float64(screen[image, a, 1]),
                screen[image, a, 2],
            )
            bx, by, bz = (
                np.float64(screen[image, b, 0]),
                np.float64(screen[image, b, 1]),
                screen[image, b, 2],
            )
            cx, cy, cz = (
                np.float64(screen[image, c, 0]),
                np.float64(screen[image, c, 1]),
                screen[image, c, 2],
            )
            if (bx - ax) * (cy - ay) - (by - ay) * (cx - ax) >= 0 or min(az, bz, cz) <= 0:
                continue
            left = max(int(np.ceil(min(ax, bx, cx) - 0.5)), 0)
            right = min(int(np.floor(max(ax, bx, cx) - 0.5)), width - 1)
            top = max(int(np.ceil(min(ay, by, cy) - 0.5)), 0)
            bottom = min(int(np.floor(max(ay, by, cy) - 0.5)), height - 1)
            for row in range(top, bottom + 1):
                y = row + 0.5
                for column in range(left, right + 1):
                    x = column + 0.5
                    w0 = (bx - x) * (cy - y) - (by - y) * (cx - x)
                    w1 = (cx - x) * (ay - y) - (cy - y) * (ax - x)
                    w2 = (ax - x) * (by - y) - (ay - y) * (bx - x)
                    if w0 > 0 or w1 > 0 or w2 > 0:
                        continue
                    total = w0 / az + w1 / bz + w2 / cz
                    depth = (w0 + w1 + w2) / total
                    if depth < nearest[image, row, column]:
                        nearest[image, row, column] = depth
                        face[image, row, column] = index
                        weights[image, row, column, 0] = w0 / az / total
                        weights[image, row, column, 1] = w1 / bz / total
                        weights[image, row, column, 2] = w2 / cz / total
    return face, weights, nearest

"""The shapes of what people wear: collars and glasses; and their teeth.

Each is a *part*: a grid of points bent into a surface, with two sides. Lengths are millimetres on
the head: x to the right in the image, y up, z towards the camera. Used in chapter 6 by the studio.
"""

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from mofa_lib.faces import LEFT_EYE, MOUTH_LEFT, MOUTH_RIGHT, NOSE_BRIDGE, RIGHT_EYE, UPPER_LIP
from mofa_lib.studio.atlas import CLOTH, COLUMNS, FRAMES, ROWS, TEETH

# The parts: rows and columns of their grids, and their patch in the atlas.
PARTS = {
    "collar": ((41, 10), CLOTH),
    "teeth": ((15, 3), TEETH),
    "left rim": ((25, 6), FRAMES),
    "right rim": ((25, 6), FRAMES),
    "bridge": ((5, 6), FRAMES),
    "left temple": ((3, 6), FRAMES),
    "right temple": ((3, 6), FRAMES),
    "left lens": ((25, 2), FRAMES),
    "right lens": ((25, 2), FRAMES),
}
MARGIN = 4  # texels of a patch around what a part shows of it


def grid_surface(
    rows: int, columns: int, patch: tuple[slice, slice]
) -> tuple[Int[Tensor, "F 3"], Tensor]:
    """Triangles of a grid of points, seen from both sides, and the places of their corners.

    The places lie in a patch of the atlas. The second side has vertices, and normals, of its own:
    pass the points twice, one after the other.
    """
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    a, b, c, d = corner, corner + 1, corner + columns, corner + columns + 1
    outside = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])  # (F/2, 3)
    inside = outside[:, ::-1] + rows * columns
    triangles = np.concatenate([outside, inside])

    down, right = patch
    row, column = np.divmod(outside, columns)
    x = _inside(right, row / (rows - 1)) / COLUMNS
    y = _inside(down, column / (columns - 1)) / ROWS
    places = np.stack([x, y], -1)  # (F/2, 3, 2)
    places = np.concatenate([places, places[:, ::-1]])
    return torch.from_numpy(triangles), torch.from_numpy(places).float()


def _inside(side: slice, share: np.ndarray) -> np.ndarray:
    """Texels at some shares of a patch's side, without its margin."""
    return side.start + MARGIN + share * (side.stop - side.start - 2 * MARGIN)


def _grid(name: str, first: tuple, second: tuple) -> tuple[np.ndarray, ...]:
    """Two coordinates at the points of a part's grid: along its rows, along its columns."""
    (rows, columns), _ = PARTS[name]
    coordinates = np.linspace(*first, rows), np.linspace(*second, columns)
    return tuple(np.meshgrid(*coordinates, indexing="ij"))


def _points(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32)


def collar(rng: np.random.Generator) -> np.ndarray:
    """Cloth from the neck over the shoulders, sometimes open in front."""
    angle, down = _grid("collar", (-np.pi, np.pi), (0, 1))
    height = rng.uniform(-118, -84)
    opening = rng.uniform(0, 40)
    if rng.random() >= 0.4:
        opening = 0.0
    neckline = height - opening * np.cos(angle / 2 + np.pi / 2) ** 8
    width = rng.uniform(110, 160)
    radius = rng.uniform(58, 70) + width * down**1.5
    # Around the axis of the neck; angle 0 is behind.
    z = -55 - 0.9 * radius * np.cos(angle)
    return _points(radius * np.sin(angle), neckline - 105 * down, z)


def teeth(marks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The upper row, on an arch behind the lips of this person.

    Args:
        marks: the 68 landmarks of the person's head, mm.
    """
    angle, down = _grid("teeth", (-1.2, 1.2), (0, 1))
    lip = marks[UPPER_LIP]
    half = 0.36 * np.linalg.norm(marks[MOUTH_RIGHT] - marks[MOUTH_LEFT]) / np.sin(1.2)
    x = lip[0] + half * np.sin(angle)
    z = lip[2] - 9.5 - 1.6 * half * (1 - np.cos(angle))
    y = lip[1] + 2.5 - rng.uniform(5, 7.5) * down
    return _points(x, y, z)


def glasses(
    marks: np.ndarray, x: np.ndarray, sun: bool, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Frames that sit on the bridge of this person's nose, by the names of their parts.

    Args:
        marks: the 68 landmarks of the person's head, mm.
        x: of the vertices of a head, mm: the temples end at its sides.
        sun: with dark lenses.
    """
    eyes = marks[LEFT_EYE].mean(0), marks[RIGHT_EYE].mean(0)
    apart = (eyes[1] - eyes[0])[0]
    width, height = apart * rng.uniform(0.36, 0.43), apart * rng.uniform(0.24, 0.4)  # of half a rim
    corner = rng.uniform(0.45, 1.0)  # 1 is round, less is squarer
    thick = rng.uniform(0.7, 2.2)
    drop = rng.uniform(0, 5)  # of the rims' middles below the eyes
    nose = marks[NOSE_BRIDGE]
    front = nose[2] + rng.uniform(2, 6)

    steps = PARTS["left rim"][0][0]
    turn = np.linspace(0, 2 * np.pi, steps)
    across, up = _power(np.cos(turn), corner) * width, _power(np.sin(turn), corner) * height
    parts = {}
    for side, out, eye in (("left", -1, eyes[0]), ("right", 1, eyes[1])):
        centre = np.array([eye[0], eye[1] - drop, front])
        rim = centre + np.stack([across, up, _bow(across + eye[0] - nose[0])], 1)  # (steps, 3)
        parts[f"{side} rim"] = _tube(rim, thick)
        if sun:
            lens = np.stack([rim, np.tile(centre, (steps, 1))], 1)  # (steps, 2, 3)
            parts[f"{side} lens"] = lens.reshape(-1, 3)

        hinge = centre + [out * width, 0.4 * height, _bow(eye[0] + out * width - nose[0])]
        ear = np.array([out * 0.93 * x.max(), hinge[1] - 2, -62])
        parts[f"{side} temple"] = _tube(np.linspace(hinge, ear, 3), thick)

    # The bridge joins the points of the rims that are nearest to the nose, in an arch.
    left, right = (parts[f"{side} rim"].reshape(steps, -1, 3).mean(1) for side in ("left", "right"))
    line = np.linspace(left[left[:, 0].argmax()], right[right[:, 0].argmin()], 5)
    arch = np.outer([0, 1.5, 2, 1.5, 0], [0, 1, 0.5])
    parts["bridge"] = _tube(line + arch, thick)
    return {name: points.astype(np.float32) for name, points in parts.items()}


def _bow(aside: np.ndarray | np.floating) -> np.ndarray | np.floating:
    """How far glasses bend back, so far aside of the nose, mm."""
    return -0.0022 * aside**2


def _power(value: np.ndarray, exponent: float) -> np.ndarray:
    """A power of the size of a number; its sign stays."""
    return np.sign(value) * np.abs(value) ** exponent


def _tube(line: np.ndarray, radius: float) -> np.ndarray:
    """A tube along a line of points, flattened to the plane that the line leaves free."""
    along = np.gradient(line, axis=0)  # (N, 3)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    aside = np.cross(along, [0.3, 0.2, 1.0])  # a direction that no line has
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    up = np.cross(along, aside)

    corners = PARTS["bridge"][0][1]  # all tubes have as many
    turn = np.linspace(0, 2 * np.pi, corners)[:, None]
    ring = aside[:, None] * np.cos(turn) + up[:, None] * np.sin(turn)  # (N, corners, 3)
    return (line[:, None] + radius * ring).reshape(-1, 3)

"""Face-model files as others write them, made of a face in millimetres and random directions:
nothing licensed.

Each maker gives what a file holds, by the names, shapes, types and units of the real one; each
`save_…` writes it.
"""

import pickle
import sys
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import scipy.io
import scipy.sparse


class Face:
    """A mean face in mm with triangles, colours in [0, 1] and landmarks, as float64."""

    def __init__(self, vertices, triangles, colours, landmarks):
        self.vertices, self.triangles = (
            np.asarray(vertices, np.float64),
            np.asarray(triangles, np.int64),
        )
        self.colours, self.landmarks = (
            np.asarray(colours, np.float64),
            np.asarray(landmarks, np.int64),
        )


def subdivided(face: Face) -> Face:
    """Every triangle cut into four; the old vertices keep their numbers."""
    t, v = face.triangles, len(face.vertices)
    edges, place = np.unique(
        np.sort(t[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)), axis=0, return_inverse=True
    )
    (a, b, c), (ab, bc, ca) = t.T, v + place.reshape(-1, 3).T
    triangles = np.concatenate(
        [np.stack(x, 1) for x in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    )
    points, colours = (np.concatenate([x, x[edges].mean(1)]) for x in (face.vertices, face.colours))
    return Face(points, triangles, colours, face.landmarks)


def front_of(face: Face, vertices: int, triangles: int) -> Face:
    """The foremost vertices, and that many triangles between them (some of them twice): the size of
    a real file.
    """
    kept = np.sort(np.argsort(-face.vertices[:, 2], kind="stable")[:vertices])
    place = np.full(len(face.vertices), -1)
    place[kept] = np.arange(vertices)
    inside = place[face.triangles]
    inside = np.resize(inside[(inside >= 0).all(1)], (triangles, 3))
    landmarks = place[face.landmarks]
    return Face(face.vertices[kept], inside, face.colours[kept], landmarks[landmarks >= 0])


def directions(face: Face, count: int, seed: int) -> np.ndarray:
    """(3V, count) float32, columns of length 1."""
    random = np.random.default_rng(seed).standard_normal(
        (3 * len(face.vertices), count), np.float32
    )
    return random / np.linalg.norm(random, axis=0)


def deviations(face: Face, count: int, first: float) -> np.ndarray:
    """Falling standard deviations; a vertex moves by about `first` in the first direction."""
    return first * len(face.vertices) ** 0.5 / (1 + np.arange(count))


def basel_2009(face: Face, components: int = 90) -> dict[str, np.ndarray]:
    """`01_MorphableModel.mat`: micrometres, standard deviations, triangles from 1 and clockwise."""
    count = len(face.vertices)
    return {
        "shapeMU": (1000 * face.vertices + [-90.0, 8800.0, 62000.0]).reshape(-1, 1).astype("f4"),
        "shapePC": directions(face, components, 1),
        "shapeEV": (1000 * deviations(face, components, 3.0))[:, None].astype("f4"),
        "texMU": (255 * face.colours).reshape(-1, 1).astype("f4"),
        "texPC": directions(face, components, 2),
        "texEV": (255 * deviations(face, components, 0.05))[:, None].astype("f4"),
        "tl": (face.triangles[:, ::-1] + 1).astype("f8"),
        "segbin": np.ones((count, 4), "u1"),
        "segMM": scipy.sparse.eye(count).tocsc(),
    }


def basel_front(
    face: Face, shape: int = 80, expression: int = 64, appearance: int = 80
) -> dict[str, np.ndarray]:
    """`BFM_model_front.mat`: decimetres, deviations inside the bases, triangles and landmarks from
    1.
    """
    return {
        "meanshape": (face.vertices / 100).reshape(1, -1),
        "idBase": (directions(face, shape, 3) * deviations(face, shape, 3.0) / 100).astype("f4"),
        "exBase": (
            directions(face, expression, 4) * deviations(face, expression, 2.0) / 100
        ).astype("f4"),
        "meantex": (255 * face.colours).reshape(1, -1),
        "texBase": (
            directions(face, appearance, 5) * deviations(face, appearance, 0.05) * 255
        ).astype("f4"),
        "tri": (face.triangles + 1).astype("i4"),
        "keypoints": (face.landmarks + 1).reshape(1, -1).astype("f8"),
        "skinmask": np.ones((1, len(face.vertices))),
        "tri_mask2": (face.triangles[:5] + 1).astype("f8"),
    }


def basel_2017(
    face: Face, shape: int = 90, expression: int = 70, color: int = 85
) -> dict[str, np.ndarray]:
    """The `.h5` files of 2017 and 2019: millimetres, variances, (3, V) points, (3, F) cells; each
    part has a mean.
    """
    middle = np.array([0.5, -3.0, -60.0])
    smile = np.random.default_rng(6).normal(0, 0.3, (len(face.vertices), 3)) + middle
    means = {"shape": face.vertices - smile, "expression": smile, "color": face.colours}
    content = {
        "metadata/landmarks/json": np.array(
            b'[{"id": "center.nose.tip", "coordinates": [0, 0, 0]}]'
        )
    }
    for part, count, first in (
        ("shape", shape, 3.0),
        ("expression", expression, 2.0),
        ("color", color, 0.05),
    ):
        content |= {
            f"{part}/model/mean": means[part].reshape(-1).astype("f4"),
            f"{part}/model/pcaBasis": directions(face, count, 7 + count),
            f"{part}/model/pcaVariance": (deviations(face, count, first) ** 2).astype("f4"),
            f"{part}/model/noiseVariance": np.zeros(1, "f4"),
            f"{part}/representer/points": (face.vertices.T * 1.1 + 20).astype(
                "f4"
            ),  # the reference, not the mean
            f"{part}/representer/cells": np.ascontiguousarray(face.triangles.T.astype("i4")),
        }
    content["color/representer/colorspace"] = np.array(b"RGB")
    return content


def flame(face: Face, components: int = 400) -> dict[str, np.ndarray]:
    """The arrays of FLAME that the conversion keeps: metres, deviations inside the directions."""
    scaled = directions(face, components, 8) * deviations(face, components, 3.0) / 1000
    return {
        "v_template": face.vertices / 1000 + [0.0, -0.02, 0.01],
        "shapedirs": scaled.reshape(-1, 3, components).astype("f8"),
        "f": face.triangles.astype("u4"),
    }


def save_mat(path: Path, content: dict, compressed: bool = False) -> Path:
    scipy.io.savemat(path, content, appendmat=False, do_compression=compressed)
    return path


def save_h5(path: Path, content: dict) -> Path:
    with h5py.File(path, "w") as file:
        for key, value in content.items():
            file[key] = value
        file.create_group("version").attrs.update(majorVersion=0, minorVersion=9)
    return path


def save_npz(path: Path, content: dict) -> Path:
    with path.open("wb") as file:
        np.savez(file, **content)
    return path


def save_flame(path: Path, content: dict, protocol: int, wrapped: bool) -> Path:
    """`generic_model.pkl`: arrays, a sparse matrix, and where `wrapped` objects of chumpy.

    The package chumpy is there only while the file is written.
    """

    class Ch:
        def __init__(self, x):
            self.x, self._dirty_vars, self._itr, self.make_dense = x, set(), None, False

        def __setstate__(self, state):
            raise AssertionError("an object of chumpy came to life")

    Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"
    modules = {"chumpy": ModuleType("chumpy"), "chumpy.ch": ModuleType("chumpy.ch")}
    modules["chumpy.ch"].Ch = Ch
    everything = {
        **content,
        "weights": np.ones((len(content["v_template"]), 5)),
        "J_regressor": scipy.sparse.csc_matrix(np.eye(5, len(content["v_template"]))),
        "kintree_table": np.array([[2**32 - 1, 0], [0, 1]], "u4"),
        "bs_style": "lbs",
        "scale": np.float64(1.0),
    }
    if wrapped:
        everything["shapedirs"] = Ch(content["shapedirs"])
    sys.modules.update(modules)
    try:
        path.write_bytes(pickle.dumps(everything, protocol))
    finally:
        for name in modules:
            del sys.modules[name]
    return path

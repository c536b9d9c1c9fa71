"""Face-model files as others write them, made of a face in millimetres and random directions:
nothing licensed.

Each maker gives what a file holds, by the names, shapes, types and units of the real one; each
`save_…` writes it.
"""

import json
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
    """The arrays of FLAME that matter: metres, deviations inside the directions."""
    scaled = directions(face, components, 8) * deviations(face, components, 3.0) / 1000
    return {
        "v_template": face.vertices / 1000 + [0.0, -0.02, 0.01],
        "shapedirs": scaled.reshape(-1, 3, components).astype("f8"),
        "f": face.triangles.astype("u4"),
    }


def grid_sphere(centre, radius: float, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """The vertices of a ball without its poles, and its quads, counter-clockwise from outside."""
    polar, azimuth = np.meshgrid(
        np.linspace(0.2, np.pi - 0.2, rows), np.linspace(0, 2 * np.pi, columns + 1)[:-1],
        indexing="ij",
    )  # fmt: skip
    round_x, round_y = np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth)
    points = np.stack([round_x, round_y, np.cos(polar)], 2).reshape(-1, 3)  # poles on z
    number = np.arange(rows * columns).reshape(rows, columns)
    beside = np.roll(number, -1, 1)
    quads = np.stack([number[:-1], number[1:], beside[1:], beside[:-1]], 2).reshape(-1, 4)
    return centre + radius * points, quads


def gnm(face: Face) -> dict[str, np.ndarray]:
    """`gnm_head.npz`: metres, components first, groups of vertices; a mouth sock, teeth and corneas
    come after the face, and a vertex of the neck at the end.
    """
    count = len(face.vertices)
    inside = face.vertices[:60] - [0, 0, 40]
    everything = np.concatenate([face.vertices, inside, face.vertices[-1:] - [0, 90, 0]])
    names = ["skin", "hockey_mask", "eyes", "eye_sockets", "mouth_sock", "teeth", "eye_exteriors"]
    groups = np.zeros((len(names), len(everything)), "f4")
    groups[0, :count] = 1
    groups[1, : count - 40] = 0.9
    groups[1, count : count + 60] = 1  # cut again by what follows
    groups[2, count - 40 : count - 10] = 1
    groups[3, count - 20 : count] = 1
    groups[4, count : count + 20], groups[5, count + 20 : count + 40] = 1, 1
    groups[6, count + 40 : count + 60] = 1
    kinds = {
        "identity_names": [("head", 170), ("eyes", 3), ("teeth", 80)],
        "expression_names": [
            ("left_eye_region", 60), ("right_eye_region", 60), ("lower_face_region", 200),
            ("tongue", 62), ("pupils", 1),
        ],
    }  # fmt: skip
    random = np.random.default_rng(11)
    content = {}
    for key, basis in (
        ("identity_names", "vertex_identity_basis"), ("expression_names", "expression_basis"),
    ):  # fmt: skip
        content[key] = np.array([f"{k}_{i:03d}" for k, n in kinds[key] for i in range(n)])
        sizes = random.uniform(0.0001, 0.003, (len(content[key]), 1, 1))  # metres, in no order
        sizes[[name.startswith(("teeth", "tongue")) for name in content[key]]] = 0.01
        content[basis] = (
            sizes * random.standard_normal((len(content[key]), len(everything), 3))
        ).astype("f4")
    neck = len(everything) - 1
    triangles = np.concatenate([face.triangles, [[0, count, count + 25], [1, 2, neck]]])
    return {
        "version": np.array("3.0"),
        "variant": np.array("head"),
        "template_vertex_positions": (everything / 1000 + [0, 0.3, 0.1]).astype("f4"),
        **content,
        "triangles": triangles.astype("i4"),
        "quads": np.zeros((5, 4), "i4"),
        "vertex_groups": groups,
        "vertex_group_names": np.array(names),
        "skinning_weights": np.ones((4, len(everything)), "f4"),
    }


def save_gnm(
    path: Path, content: dict, landmarks: np.ndarray | None = None, reversed_jaw: bool = False
) -> Path:
    """The file, and beside it the landmarks in the middle of triangles, by their largest weight."""
    if landmarks is not None:
        rows = np.stack([landmarks + 1, landmarks, landmarks + 2], 1)
        if reversed_jaw:
            rows[2:7] = rows[6:1:-1].copy()
        lines = [f"{a} 0.2 {b} 0.7 {c} 0.1" for a, b, c in rows]
        path.with_name("head_sparse_68.txt").write_text("\n".join(lines) + "\n")
    return save_npz(path, content)


ICT_EXPRESSIONS = ["browDown_L", "browDown_R", "jawOpen", "mouthSmile_L", "mouthSmile_R"]


def ict(folder: Path, face: Face, unit: float = 10.0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """ICT-FaceKit Light's folder of a face with at most 9409 vertices, and two balls for eyeballs.

    Each mesh but the neutral one differs from it in a few hundred vertices. Gives all vertices of
    the neutral mesh and what each other mesh adds, mm.
    """
    middles = [face.vertices[face.landmarks[eye]].mean(0) for eye in ([42, 45], [36, 39])]
    balls = [grid_sphere(middle - [0, 0, 13], 12.0, 10, 157) for middle in middles]
    neutral = np.zeros((26719, 3))
    neutral[: len(face.vertices)] = face.vertices
    neutral[len(face.vertices) : 9409] = face.vertices[-1]
    neutral[21451:23021], neutral[23021:24591] = balls[0][0], balls[1][0]
    neutral = (neutral / unit).round(5)
    polygons = [*face.triangles, *(balls[0][1] + 21451), *(balls[1][1] + 23021)]
    polygons += [[9409, 9410, 9411]] * (26384 - len(polygons))

    lines = ["v {:.5f} {:.5f} {:.5f}".format(*row) for row in neutral]
    corners = [" ".join(f"{i + 1}/{i + 1}" for i in polygon) for polygon in polygons]
    end = "\nvt 0 0\nusemtl M_Face\nf " + "\nf ".join(corners) + "\n"
    folder.mkdir()

    def save(name: str, start: int, moved: np.ndarray) -> None:
        changed = ["v {:.5f} {:.5f} {:.5f}".format(*row) for row in moved]
        rest = lines[start + len(changed) :]
        text = "\n".join(["# ICT FaceKit", *lines[:start], *changed, *rest]) + end
        (folder / f"{name}.obj").write_text(text)

    save("generic_neutral_mesh", 0, neutral[:0])
    random, added = np.random.default_rng(12), {}
    end = "\n"  # the triangles of the others are not read
    for number, name in enumerate([*(f"identity{i:03d}" for i in range(100)), *ICT_EXPRESSIONS]):
        start = 80 * number
        moves = (random.normal(0, 1 + (number < 3), (400, 3)) / unit).round(5)
        save(name, start, neutral[start : start + 400] + moves)
        added[name] = np.zeros_like(neutral)
        added[name][start : start + 400] = unit * moves
    indices = {"expressions": ICT_EXPRESSIONS, "idx_to_landmark_verts": face.landmarks.tolist()}
    (folder / "vertex_indices.json").write_text(json.dumps(indices))
    return unit * neutral, added


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

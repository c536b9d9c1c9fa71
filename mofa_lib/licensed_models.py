"""Readers of the Basel face models, which their makers give to who signs for them.

Each gives the tensors of a `MorphableModel` by the file's own formula, in millimetres and colours
in [0, 1], with 0-based triangles. `model_files` finds out which reader is due, and does the rest.
In all of these files x runs to the viewer's right, y up and z toward the viewer, as in the book.
"""

from pathlib import Path

import numpy as np
import scipy.io

from mofa_lib.model_arrays import APPEARANCE, EXPRESSION, SHAPE, Arrays, no_columns, reading

BASEL_2009 = ("shapeMU", "shapePC", "shapeEV", "texMU", "texPC", "texEV", "tl")
BASEL_FRONT = ("meanshape", "meantex", "idBase", "exBase", "texBase", "tri", "keypoints")


def read_mat(path: Path) -> dict[str, np.ndarray]:
    """Basel 2009, or its crop for deep face reconstruction, from a MAT file of version 5.

    Raises:
        ValueError: the file is damaged, or holds something else.
    """
    names = (*BASEL_2009, *BASEL_FRONT)
    with reading(path):
        content = scipy.io.loadmat(str(path), appendmat=False, variable_names=names)
    if "shapeMU" in content:
        return _basel_2009(Arrays(path, content))
    if "meanshape" in content:
        return _basel_front(Arrays(path, content))
    raise ValueError(
        f"{path} is a MAT file, but no face model: it holds neither shapeMU nor meanshape."
    )


def _basel_2009(arrays: Arrays) -> dict[str, np.ndarray]:
    """MU + PC · (EV ∘ coefficients) in micrometres, colours to 255.

    EV are *standard deviations*. There are no expressions.
    """
    mean = arrays.points("shapeMU")
    vertices = len(mean)
    shape_deviations = arrays.spread("shapeEV")
    shape_basis = arrays.basis("shapePC", vertices, SHAPE, 1 / 1000, shape_deviations)
    mean_appearance = arrays.points("texMU", vertices) / 255
    colour_deviations = arrays.spread("texEV")
    appearance_basis = arrays.basis("texPC", vertices, APPEARANCE, 1 / 255, colour_deviations)
    return {
        "mean_shape": mean / 1000,
        "shape_basis": shape_basis,
        "expression_basis": no_columns(vertices),
        "mean_appearance": mean_appearance,
        "appearance_basis": appearance_basis,
        "faces": arrays.triangles("tl", vertices, first=1),
    }


def _basel_front(arrays: Arrays) -> dict[str, np.ndarray]:
    """Mean + Base · coefficients in decimetres, colours to 255.

    The only file that names the 68 landmarks.
    """
    mean = arrays.points("meanshape")
    vertices = len(mean)
    return {
        "mean_shape": mean * 100,
        "shape_basis": arrays.basis("idBase", vertices, SHAPE, 100),
        "expression_basis": arrays.basis("exBase", vertices, EXPRESSION, 100),
        "mean_appearance": arrays.points("meantex", vertices) / 255,
        "appearance_basis": arrays.basis("texBase", vertices, APPEARANCE, 1 / 255),
        "faces": arrays.triangles("tri", vertices, first=1),
        "landmarks": arrays.vertex_numbers("keypoints", vertices, first=1).reshape(-1),
    }


def read_basel_h5(path: Path) -> dict[str, np.ndarray]:
    """Basel 2017 or 2019, of any size, from an HDF5 file as statismo writes it.

    Shape and expression add up, in millimetres; each is mean + pcaBasis · (√pcaVariance ∘
    coefficients).

    Raises:
        ModuleNotFoundError: h5py is not installed.
        ValueError: the file is damaged, or holds something else.
    """
    try:
        import h5py
    except ImportError:
        raise ModuleNotFoundError(
            f"{path} is an HDF5 file, which h5py reads: pip install h5py"
        ) from None

    with reading(path):
        file = h5py.File(path, "r")
    with file:
        arrays = Arrays(path, file)
        mean = arrays.points("shape/model/mean")
        vertices = len(mean)

        def basis(group: str, most: int) -> np.ndarray:
            deviations = np.sqrt(arrays.spread(f"{group}/model/pcaVariance"))
            return arrays.basis(f"{group}/model/pcaBasis", vertices, most, 1, deviations)

        expression_basis = no_columns(vertices)  # Basel 2009 in this layout
        if "expression" in arrays:
            mean = mean + arrays.points("expression/model/mean", vertices)
            expression_basis = basis("expression", EXPRESSION)

        cells = "shape/representer/cells" if "shape/representer" in arrays else "representer/cells"
        return {
            "mean_shape": mean,
            "shape_basis": basis("shape", SHAPE),
            "expression_basis": expression_basis,
            "mean_appearance": arrays.points("color/model/mean", vertices),
            "appearance_basis": basis("color", APPEARANCE),
            "faces": arrays.triangles(cells, vertices, first=0),
        }

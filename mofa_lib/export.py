"""Heads for other programs: glTF, OBJ and PLY files, coloured by vertex. Used in chapter 5."""

from pathlib import Path

import numpy as np
import trimesh
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from trimesh.exchange.gltf import export_glb
from trimesh.exchange.obj import export_obj
from trimesh.exchange.ply import export_ply

from mofa_lib.artifacts import write_bytes
from mofa_lib.inputs import as_colours, check_finite, takes_arrays
from mofa_lib.lighting import decode_srgb
from mofa_lib.mesh import vertex_normals

SUFFIXES = (".glb", ".obj", ".ply")
# Without a material, glTF's is bare metal.
MATERIAL = {"pbrMetallicRoughness": {"metallicFactor": 0, "roughnessFactor": 0.8}}


@takes_arrays
def export_head(
    path: str | Path,
    vertices: Float[Tensor, "V 3"],
    triangles: Int[Tensor, "F 3"],
    colours: Float[Tensor, "V 3"] | UInt8[Tensor, "V 3"],
) -> None:
    """Write a head; the suffix of the path decides the format.

    The folder is made, and the file is whole or not there.

    The axes stay the book's (x to the viewer's right, y up, z toward the viewer), which are also
    those of glTF.

    | suffix | units | colours |
    |---|---|---|
    | `.glb` | metres, as glTF demands | linear light, as glTF demands, float32 |
    | `.obj` | mm | as given, in 8 bits, behind the coordinates (`v x y z r g b`) |
    | `.ply` | mm | as given, in 8 bits |

    Colours in an OBJ file are no part of the format, but a habit that many programs read.

    Args:
        path: ends in .glb, .obj or .ply.
        vertices: mm.
        triangles: counter-clockwise seen from outside.
        colours: RGB as on the screen (sRGB-encoded), like the models' albedo; clamped to [0, 1]. Or
            8-bit.
    Raises:
        ValueError: the path ends in something else, or vertices, triangles and colours do not fit
            each other, or are not finite.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise ValueError(
            f"A head's path ends in {', '.join(SUFFIXES)}, which decides the format; got {path}."
        )
    _check(vertices, triangles, colours)

    points = vertices.detach().cpu()
    corners = triangles.detach().cpu()
    rgb = as_colours(colours).clamp(0, 1).numpy()
    mesh = trimesh.Trimesh(
        points.numpy().astype(np.float64),
        corners.numpy(),
        vertex_normals=vertex_normals(points.float()[None], corners)[0].numpy(),
        process=False,  # else vertices are merged and renumbered
    )

    if kind == ".glb":
        mesh.apply_scale(0.001)  # mm to metres
        # trimesh rounds linear colours to 8 bits, which dark skin shows: they go as an attribute.
        mesh.vertex_attributes["_COLOR_0"] = decode_srgb(rgb).astype(np.float32)
        content = export_glb(mesh, include_normals=True, tree_postprocessor=_finish)
    else:
        mesh.visual.vertex_colors = np.rint(255 * rgb).astype(np.uint8)
        if kind == ".ply":
            content = export_ply(mesh)
        else:
            content = export_obj(mesh, include_normals=True).encode()
    write_bytes(path, content)


def _check(vertices: Tensor, triangles: Tensor, colours: Tensor) -> None:
    """Refuse what is no head, in one sentence."""
    shapes = [tuple(tensor.shape) for tensor in (vertices, triangles, colours)]
    by_threes = all(shape[1:] == (3,) for shape in shapes)
    if not by_threes or shapes[0] != shapes[2]:
        raise ValueError(
            "A head is vertices (V, 3), triangles (F, 3) and colours (V, 3), got {}, {} and {}; "
            "take one head of a batch, as in vertices[0].".format(*shapes)
        )
    if not len(vertices):
        raise ValueError("A head needs at least one vertex.")
    check_finite("A head's vertices", vertices)
    last = len(vertices) - 1
    if len(triangles) and not 0 <= int(triangles.min()) <= int(triangles.max()) <= last:
        raise ValueError(
            f"The triangles name vertices outside 0 … {last}; give the head's own triangles."
        )


def _finish(tree: dict) -> None:
    """In glTF's description of a file, name the colours as viewers expect, and add a material."""
    (primitive,) = tree["meshes"][0]["primitives"]
    attributes = primitive["attributes"]
    attributes["COLOR_0"] = attributes.pop("_COLOR_0")
    tree["materials"] = [MATERIAL]
    primitive["material"] = 0

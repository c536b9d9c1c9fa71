"""Heads for other programs: glTF, OBJ and PLY files with a colour at every vertex. Used in chapter 5."""

from pathlib import Path

import numpy as np
import trimesh
from jaxtyping import Float, Int
from torch import Tensor
from trimesh.exchange.gltf import export_glb
from trimesh.exchange.obj import export_obj
from trimesh.exchange.ply import export_ply

from mofa_lib.artifacts import write_bytes
from mofa_lib.lighting import vertex_normals

SUFFIXES = (".glb", ".obj", ".ply")
MATERIAL = {"pbrMetallicRoughness": {"metallicFactor": 0, "roughnessFactor": 0.8}}  # without one, glTF's is bare metal


def export_head(
    path: str | Path, vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"], colours: Float[Tensor, "V 3"]
) -> None:
    """Write a head; the suffix of the path decides the format. The folder is made, and the file is whole or not there.

    The axes stay the book's (x to the viewer's right, y up, z toward the viewer), which are also those of glTF.

    | suffix | units | colours |
    |---|---|---|
    | `.glb` | metres, as glTF demands | linear light, as glTF demands, float32 |
    | `.obj` | mm | as given, in 8 bits, behind the coordinates (`v x y z r g b`), a habit that many programs read |
    | `.ply` | mm | as given, in 8 bits |

    Args:
        path: ends in .glb, .obj or .ply.
        vertices: mm.
        faces: triangles, counter-clockwise seen from outside.
        colours: RGB as on the screen (sRGB-encoded), like the models' albedo; clamped to [0, 1].
    Raises:
        ValueError: the path ends in something else, or vertices, triangles and colours do not fit each other.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise ValueError(f"A head's path ends in {', '.join(SUFFIXES)}, which decides the format; got {path}.")
    shapes = [tuple(t.shape) for t in (vertices, faces, colours)]
    if [shape[1:] for shape in shapes] != [(3,)] * 3 or shapes[0] != shapes[2]:
        raise ValueError(
            "A head is vertices (V, 3), triangles (F, 3) and colours (V, 3), got {}, {} and {}; "
            "take one head of a batch, as in vertices[0].".format(*shapes)
        )
    if len(faces) and not 0 <= int(faces.min()) <= int(faces.max()) < len(vertices):
        raise ValueError(f"The triangles name vertices outside 0 … {len(vertices) - 1}; give the head's own triangles.")
    points, triangles, rgb = (t.detach().cpu() for t in (vertices, faces, colours.clamp(0, 1)))
    mesh = trimesh.Trimesh(
        points.numpy().astype(np.float64),
        triangles.numpy(),
        vertex_normals=vertex_normals(points.float()[None], triangles)[0].numpy(),
        process=False,  # else vertices are merged and renumbered
    )
    if kind == ".glb":
        mesh.apply_scale(0.001)
        mesh.vertex_attributes["_COLOR_0"] = decode_srgb(rgb.numpy()).astype(np.float32)
        content = export_glb(mesh, include_normals=True, tree_postprocessor=_finish)
    else:
        mesh.visual.vertex_colors = np.rint(255 * rgb.numpy()).astype(np.uint8)
        content = export_ply(mesh) if kind == ".ply" else export_obj(mesh, include_normals=True).encode()
    write_bytes(path, content)


def decode_srgb(pixels: np.ndarray) -> np.ndarray:
    """sRGB pixel values to linear light (IEC 61966-2-1); the inverse of `skin.encode_srgb`."""
    return np.where(pixels < 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055) ** 2.4)


def _finish(tree: dict) -> None:
    """trimesh rounds linear colours to 8 bits, which dark skin shows: so they came as an attribute, named here."""
    (part,) = tree["meshes"][0]["primitives"]
    part["attributes"]["COLOR_0"] = part["attributes"].pop("_COLOR_0")
    tree["materials"], part["material"] = [MATERIAL], 0

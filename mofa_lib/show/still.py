"""The still picture of a head: what the viewer shows first, drawn by the book's own rasteriser."""

import base64
import io
import math

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mofa_lib.camera import Camera, pose
from mofa_lib.lighting import irradiance
from mofa_lib.mesh import vertex_normals
from mofa_lib.raster import interpolate, rasterize

FIELD_OF_VIEW = 16.0  # degrees: a portrait from a few metres, no large noses
YAW = 0.2  # radians by which the camera stands to the right
# The viewer's lamps and its exposure together as spherical harmonics, by least squares.
LAMPS = [-1.32, 0.24, 0.59, -0.07, 0.06, 0.12, 0.16, 0.07, -0.09]
SIDE = 320  # of the picture, pixels


def still(
    vertices: Float[Tensor, "V 3"],
    triangles: Int[Tensor, "F 3"],
    colours: Float[Tensor, "V 3"],
    centre: Float[Tensor, "3"],
    distance: float,
    lit: bool,
) -> str:
    """A small transparent picture of a head, as a `data:` address.

    Args:
        vertices: mm.
        triangles: vertex indices of each.
        colours: RGB in [0, 1].
        centre: the point that the camera looks at, mm.
        distance: of the camera from it, mm.
        lit: whether the colours contain the light already.
    """
    turn = torch.tensor([[0.0, -YAW, 0.0]])  # the head's, against the camera's
    posed = pose((vertices - centre)[None], turn, torch.zeros(1, 3))  # (1, V, 3)
    light = torch.zeros(1, 3, 9) if lit else torch.tensor(LAMPS).expand(1, 3, 9)
    shaded = colours.clamp(0, 1) * irradiance(vertex_normals(posed, triangles), light)  # (1, V, 3)
    opaque = torch.cat([shaded, torch.ones_like(shaded[..., :1])], 2)  # (1, V, 4)

    side = 2 * SIDE  # drawn at twice the size, for smooth edges
    camera = Camera(1 / math.tan(math.radians(FIELD_OF_VIEW / 2)), distance)
    fragments = rasterize(camera.project(posed, side), triangles, side)
    drawn = interpolate(fragments, triangles, opaque).permute(0, 3, 1, 2)  # (1, 4, 640, 640)
    smooth = avg_pool2d(drawn, 2)[0].clamp(0, 1)  # (4, 320, 320)
    # The colour of an edge is that of the head, its opacity is less.
    smooth[:3] /= smooth[3:].clamp(min=1e-6)

    pixels = (255 * smooth.clamp(0, 1)).round().to(torch.uint8).permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"

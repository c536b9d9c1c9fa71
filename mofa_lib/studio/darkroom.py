"""The darkroom of the studio: from posed heads to pictures, sample by sample.

Pictures are drawn at `SUPERSAMPLING` times their size and averaged in the end. Until then a picture
is a row of samples for each channel, (3, P). Used in chapter 6 by the studio.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from mofa_lib.mesh import vertex_normals
from mofa_lib.raster import interpolate, rasterize
from mofa_lib.studio.atlas import read_texture
from mofa_lib.studio.scene import GAMMA, Light, Thing, background, camera_faults, thing_in_front

SUPERSAMPLING = 2  # rendered at twice the size, then averaged: no jagged edges
GREY = 0.5  # of the wall behind plain pictures


@dataclass(frozen=True)
class Samples:
    """What the samples of some pictures show of the people in front of the camera.

    Attributes:
        colour: RGB as on a screen; arbitrary where nothing is hit.
        hit: whether a sample shows head or clothes.
        bare: the share of bare skin in it.
    """

    colour: Float[Tensor, "B 3 P"]
    hit: Bool[Tensor, "B P"]
    bare: Float[Tensor, "B P"]


def shade(
    world: Float[Tensor, "B V 3"],
    screen: Float[Tensor, "B V 3"],
    triangles: Int[Tensor, "F 3"],
    places: Float[Tensor, "F 3 2"],
    texture: Float[Tensor, "5 R S"],
    open_sky: Float[Tensor, " V"],
    light: Light,
    size: int,
) -> Samples:
    """Light posed vertices and draw them.

    Args:
        world: vertices in the camera's frame, mm.
        screen: their places in pictures of this size, pixels, and their depths.
        places: texture coordinates of the triangles' corners.
        texture: linear RGB, shine, and bare skin (1) or not (0).
        open_sky: the share of the sky that each vertex sees.
        size: of the finished pictures.
    """
    enlarge = torch.tensor([SUPERSAMPLING, SUPERSAMPLING, 1.0])
    fragments = rasterize(screen * enlarge, triangles, SUPERSAMPLING * size)
    seen = _planes(read_texture(texture, places, fragments))  # (B, 5, P)
    colour, shine, bare = seen.split([3, 1, 1], 1)

    normals = vertex_normals(world, triangles)  # (B, V, 3)
    sky = open_sky.expand(len(world), -1)[..., None]  # (B, V, 1)
    values = interpolate(fragments, triangles, torch.cat([normals, sky], 2))
    normal, sky = _planes(values).split([3, 1], 1)  # (B, 3, P), (B, 1, P)
    normal = normal * (normal.square().sum(1, keepdim=True) + 1e-12).rsqrt()

    lit = colour * light.irradiance(normal, sky) + light.highlights(normal, shine) * sky
    return Samples(
        colour=lit.clamp(1e-4, 1) ** (1 / GAMMA),
        hit=(fragments.face >= 0).flatten(1),
        bare=bare[:, 0],
    )


def finish(
    colour: Float[Tensor, "3 P"],
    hit: Bool[Tensor, " P"],
    bare: Float[Tensor, " P"],
    light: Light,
    skin: np.ndarray,
    size: int,
    rng: np.random.Generator,
) -> tuple[UInt8[Tensor, "3 H W"], Bool[Tensor, "H W"]]:
    """One picture and its skin mask: a background, perhaps a thing in front, a camera's faults.

    Args:
        colour, hit, bare: of its samples, as in `Samples`.
        light: as the aligned picture shows it.
        skin: the person's colour, for a hand in front.
    """
    fine = SUPERSAMPLING * size
    behind = background(size, rng)[None]  # (1, 3, H, W)
    behind = F.interpolate(behind, fine, mode="bilinear")[0].flatten(1)  # (3, P)
    picture = torch.where(hit, colour, behind)
    shown = hit * bare
    if rng.random() < 0.15:
        thing = thing_in_front(fine, skin, rng)
        picture, shown = _put_in_front(thing, picture, shown, light)
    picture = _average(picture.unflatten(1, (fine, fine)))  # (3, H, W)
    return camera_faults(picture, rng), _mask(shown, size)


def finish_plainly(
    colour: Float[Tensor, "3 P"], hit: Bool[Tensor, " P"], bare: Float[Tensor, " P"], size: int
) -> tuple[UInt8[Tensor, "3 H W"], Bool[Tensor, "H W"]]:
    """The same before a grey wall, by a perfect camera."""
    fine = SUPERSAMPLING * size
    picture = torch.where(hit, colour, torch.full((3, fine * fine), GREY))
    picture = _average(picture.unflatten(1, (fine, fine)))  # (3, H, W)
    pixels = (255 * picture.clamp(0, 1)).round().to(torch.uint8)
    return pixels, _mask(hit * bare, size)


def _put_in_front(
    thing: Thing, picture: Float[Tensor, "3 P"], shown: Float[Tensor, " P"], light: Light
) -> tuple:
    """Paste a lit thing over a picture; what it hides is not shown."""
    normals = thing.normal.reshape(1, -1, 3).mT  # (1, 3, P)
    lit = light.irradiance(normals, 0.9)[0] * thing.colour[:, None]  # (3, P)
    surface = lit.clamp(1e-4, 1) ** (1 / GAMMA)
    alpha = thing.alpha.flatten()  # (P,)
    return torch.lerp(picture, surface, alpha), shown * (1 - alpha)


def _planes(values: Float[Tensor, "B H W C"]) -> Float[Tensor, "B C P"]:
    """One plane for each channel, which is how the shading runs fastest."""
    return values.permute(0, 3, 1, 2).flatten(2).contiguous()


def _average(samples: Float[Tensor, "... S T"]) -> Float[Tensor, "... H W"]:
    """The mean of the samples of each pixel."""
    steps = range(SUPERSAMPLING)
    grid = [samples[..., i::SUPERSAMPLING, j::SUPERSAMPLING] for i in steps for j in steps]
    return sum(grid) / len(grid)


def _mask(shown: Float[Tensor, " P"], size: int) -> Bool[Tensor, "H W"]:
    """The pixels of which more than half is shown."""
    fine = SUPERSAMPLING * size
    return _average(shown.unflatten(0, (fine, fine))) > 0.5

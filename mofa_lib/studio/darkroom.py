"""The darkroom: from posed surfaces to photographs, skin and clothes first, strands before them.

Pictures are drawn at `SUPERSAMPLING` times their size and averaged in the end. Until then a picture
is a row of samples for each channel, (3, P). Used in chapter 6 by the studio.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from mofa_lib.mesh import vertex_normals
from mofa_lib.raster import Fragments, interpolate, rasterize
from mofa_lib.studio.atlas import read_texture
from mofa_lib.studio.light import GAMMA, Light
from mofa_lib.studio.scene import background, camera_faults
from mofa_lib.studio.strands import Strands

SUPERSAMPLING = 2  # rendered at twice the size, then averaged: no jagged edges
GREY = 0.5  # of the wall behind plain pictures

# Light that enters skin leaves it a little further on, red light furthest, so shadows on skin have
# soft, reddish edges: for each channel, how far light reaches around. After Green 2004.
WRAP = (0.30, 0.16, 0.12)
HAIR_SHINE = 1.4
HAIR_SKY = 0.85  # the share of the sky that a strand sees
TOUCHING = 0.5  # mm: strands so little behind the skin are seen


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


@dataclass(frozen=True)
class Surface:
    """Something posed before the camera.

    Attributes:
        screen: places of the vertices in pictures of the final size, pixels, and their depths.
        normals: of the vertices, in the camera's frame.
        triangles: front faces.
        places: texture coordinates of their corners.
    """

    screen: Float[Tensor, "B V 3"]
    normals: Float[Tensor, "B V 3"]
    triangles: Int[Tensor, "F 3"]
    places: Float[Tensor, "F 3 2"]

    def fragments(self, size: int, opaque: Callable | None = None) -> Fragments:
        """What the samples of pictures of this size see of it."""
        enlarge = torch.tensor([SUPERSAMPLING, SUPERSAMPLING, 1.0])
        fine = SUPERSAMPLING * size
        return rasterize(self.screen * enlarge, self.triangles, fine, opaque=opaque)


def solid(
    world: Float[Tensor, "B V 3"],
    screen: Float[Tensor, "B V 3"],
    triangles: Int[Tensor, "F 3"],
    places: Float[Tensor, "F 3 2"],
) -> Surface:
    """A surface whose normals are those of its vertices, mm."""
    return Surface(screen, vertex_normals(world, triangles), triangles, places)


def shade(
    body: Surface,
    hair: Surface,
    texture: Float[Tensor, "5 R S"],
    strands: Strands,
    sky: Float[Tensor, " V"],
    light: Light,
    size: int,
) -> Samples:
    """Light what is posed, and draw it.

    Args:
        body: head, clothes, glasses.
        hair: the strands, posed.
        texture: linear RGB, shine, and bare skin (1) or not (0).
        sky: the share of the sky that each vertex of the body sees.
        size: of the finished pictures.
    """
    behind = body.fragments(size)
    colour, bare = _draw_body(behind, body, texture, sky, light)
    before = hair.fragments(size, _strand_or_gap(strands))
    is_hair = (before.face >= 0) & (
        (before.depth < behind.depth + TOUCHING) | (behind.face < 0)
    )  # (B, S, S)
    is_hair = is_hair.flatten(1)
    colour = torch.where(is_hair[:, None], _draw_hair(before, hair, strands, light), colour)
    strand = before.face.clamp(min=0).flatten(1)
    return Samples(
        colour=colour.clamp(1e-4, 1) ** (1 / GAMMA),
        hit=(behind.face >= 0).flatten(1) | is_hair,
        bare=torch.where(is_hair, strands.skin[strand], bare),
    )


def _draw_body(
    fragments: Fragments, body: Surface, texture: Tensor, sky: Tensor, light: Light
) -> tuple[Float[Tensor, "B 3 P"], Float[Tensor, "B P"]]:
    """Linear colours of samples, and the share of bare skin."""
    seen = _planes(read_texture(texture, body.places, fragments))  # (B, 5, P)
    colour, shine, bare = seen.split([3, 1, 1], 1)
    open_sky = sky.expand(len(body.normals), -1)[..., None]  # (B, V, 1)
    values = torch.cat([body.normals, open_sky], 2)
    normal, open_sky = _planes(interpolate(fragments, body.triangles, values)).split([3, 1], 1)
    normal = _unit(normal)
    lit = colour * _irradiance(light, normal, open_sky, bare)
    return lit + light.highlights(normal, shine) * open_sky, bare[:, 0]


def _irradiance(
    light: Light,
    normal: Float[Tensor, "B 3 P"],
    open_sky: Float[Tensor, "B 1 P"],
    bare: Float[Tensor, "B 1 P"],
) -> Float[Tensor, "B 3 P"]:
    """Lambert's law as in `Light.irradiance`, but light reaches around where the skin is bare."""
    cosine = light.directions @ normal  # (B, L, P)
    lit = []
    for channel, wrap in enumerate(WRAP):
        around = wrap * bare
        reached = ((cosine + around) / (1 + around)).clamp(min=0)
        lit.append(light.lamps[:, None, :, channel] @ reached)  # (B, 1, P)
    return light.with_sky(torch.cat(lit, 1), open_sky)


def _strand_or_gap(strands: Strands) -> Callable[[Tensor, Tensor], Tensor]:
    """Which places of the triangles show a strand."""

    def opaque(triangle: Int[Tensor, " M"], weights: Float[Tensor, "3 M"]) -> Bool[Tensor, " M"]:
        level = (strands.level[triangle].T * weights).sum(0)
        return _read(strands.page[1], strands, triangle, weights) > level

    return opaque


def _read(
    page: Float[Tensor, "R S"],
    strands: Strands,
    triangle: Int[Tensor, " M"],
    weights: Float[Tensor, "3 M"],
) -> Float[Tensor, " M"]:
    """The nearest texel of one layer of the page."""
    rows, columns = page.shape
    x, y = (strands.places[triangle] * weights.T[..., None]).sum(1).unbind(1)  # (M,) each
    column = (x * columns).long().clamp(0, columns - 1)
    row = (y * rows).long().clamp(0, rows - 1)
    return page.flatten()[row * columns + column]


def _draw_hair(
    fragments: Fragments, hair: Surface, strands: Strands, light: Light
) -> Float[Tensor, "B 3 P"]:
    """Linear colours of samples; 0 where there are no strands."""
    drawn = torch.zeros(len(fragments.face), 3, fragments.face[0].numel())
    for number, face in enumerate(fragments.face.flatten(1)):
        seen = torch.nonzero(face >= 0).squeeze(1)  # (M,)
        triangle = face[seen]
        weights = fragments.barycentric[number].reshape(-1, 3)[seen].T  # (3, M)
        lightness = _read(strands.page[0], strands, triangle, weights)  # (M,)
        corners = hair.normals[number][hair.triangles[triangle]]  # (M, 3, 3)
        normal = _unit((corners * weights.T[..., None]).sum(1).T[None])  # (1, 3, M)

        lamps = Light(*(getattr(light, field.name)[[number]] for field in fields(Light)))
        lit = strands.colour[triangle].T * lightness * lamps.irradiance(normal, HAIR_SKY)[0]
        shine = torch.full_like(normal[:, :1], HAIR_SHINE)
        gleam = 0.5 * lamps.highlights(normal, shine)[0] * (0.3 + lightness)
        drawn[number][:, seen] = lit + gleam
    return drawn


def finish(
    colour: Float[Tensor, "3 P"],
    hit: Bool[Tensor, " P"],
    bare: Float[Tensor, " P"],
    size: int,
    rng: np.random.Generator,
) -> tuple[UInt8[Tensor, "3 H W"], Bool[Tensor, "H W"]]:
    """One picture and its skin mask: before a place out of focus, with a camera's faults."""
    fine = SUPERSAMPLING * size
    behind = background(size, rng)[None]  # (1, 3, H, W)
    behind = F.interpolate(behind, fine, mode="bilinear")[0].flatten(1)  # (3, P)
    picture = _average(torch.where(hit, colour, behind).unflatten(1, (fine, fine)))
    return camera_faults(picture, rng), _mask(hit * bare, size)


def finish_plainly(
    colour: Float[Tensor, "3 P"], hit: Bool[Tensor, " P"], bare: Float[Tensor, " P"], size: int
) -> tuple[UInt8[Tensor, "3 H W"], Bool[Tensor, "H W"]]:
    """The same before a grey wall, by a perfect camera."""
    fine = SUPERSAMPLING * size
    picture = torch.where(hit, colour, torch.full((3, fine * fine), GREY))
    picture = _average(picture.unflatten(1, (fine, fine)))  # (3, H, W)
    pixels = (255 * picture.clamp(0, 1)).round().to(torch.uint8)
    return pixels, _mask(hit * bare, size)


def _unit(vectors: Float[Tensor, "B 3 P"]) -> Float[Tensor, "B 3 P"]:
    return vectors * (vectors.square().sum(1, keepdim=True) + 1e-12).rsqrt()


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

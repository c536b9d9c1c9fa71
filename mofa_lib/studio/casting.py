"""Who comes to be photographed: random heads with their skin, hair and clothes.

Used in chapter 6 by the studio.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mofa_lib.studio.hair import FULL, Hairdresser, hair_colour
from mofa_lib.studio.heads import Head, HeadShapes
from mofa_lib.studio.light import GAMMA
from mofa_lib.studio.looks import load_looks
from mofa_lib.studio.phenotype import Phenotype
from mofa_lib.studio.skin import SkinPainter
from mofa_lib.studio.strands import Strands
from mofa_lib.studio.wardrobe import Wardrobe, paint_worn


@dataclass(frozen=True)
class Person:
    """One identity: a head, its skin, its hair and its clothes, the same in every photograph.

    Attributes:
        head: shape, expressions and phenotype.
        strands: hair, beard and lashes.
        worn: vertices of clothes, glasses and teeth, mm.
        triangles: of the fine head and what is worn.
        places: texture coordinates of the triangles' corners.
        texture: linear RGB, shine, and bare skin (1) or not (0), in the atlas.
        attributes: what an analysis of errors by group may ask for, as in `Face`.
    """

    head: Head
    strands: Strands
    worn: Float[Tensor, "W 3"]
    triangles: Int[Tensor, "F 3"]
    places: Float[Tensor, "F 3 2"]
    texture: Float[Tensor, "5 R S"]
    attributes: dict[str, float]


class Casting:
    """Invites random people.

    Args:
        plain: they come bald, and wear nothing.
    Attributes:
        shapes, painter, hairdresser, wardrobe: what people are made of.
    """

    def __init__(self, plain: bool = False):
        self.plain = plain
        looks = load_looks()
        self.shapes = HeadShapes()
        self.painter = SkinPainter(self.shapes, looks)
        self.hairdresser = Hairdresser(self.shapes, looks, self.painter)
        self.wardrobe = Wardrobe(self.shapes)
        atlas = self.painter.atlas
        near = [np.linalg.norm(atlas.points - cheek, axis=1) < 10 for cheek in self.painter.cheeks]
        self._cheeks = torch.from_numpy(atlas.texels[np.logical_or(*near)])

    def person(self, rng: np.random.Generator) -> Person:
        """A random identity."""
        head = self.shapes.head(rng)
        hair = hair_colour(head.phenotype, rng)
        skin = self.painter.paint(head.phenotype, hair, rng)  # (4, R, S)
        strands, cover, style, beard = self.hairdresser.dress(head, hair, rng)
        if self.plain:
            strands, cover, beard = self.hairdresser.lashes_of(head, rng), 0.0, ""
        parts, glasses = self.wardrobe.dress(head, rng)
        if self.plain:
            parts, glasses = {"teeth": parts["teeth"]}, ""
        texture = np.concatenate([skin.numpy(), np.ones_like(skin[:1])])  # (5, R, S)
        self._paint_roots(texture, cover, beard, hair, rng)
        paint_worn(texture, rng)
        texture[:3] = texture[:3].clip(0.01, 1) ** GAMMA  # linear from here on

        triangles, places, worn = [self.shapes.fine_triangles], [self.hairdresser.fur.places], []
        count = self.shapes.fine.shape[0]  # number of the next vertex
        for name, points in parts.items():
            triangles.append(self.wardrobe.triangles[name] + count)
            places.append(self.wardrobe.places[name])
            worn += [torch.from_numpy(points)] * 2  # a part has two sides
            count += 2 * len(points)
        texture = torch.from_numpy(texture)
        cheeks = texture.flatten(1)[:3, self._cheeks].mean(1).numpy()  # linear RGB
        return Person(
            head=head,
            strands=strands,
            worn=torch.cat(worn),
            triangles=torch.cat(triangles),
            places=torch.cat(places),
            texture=texture,
            attributes=_properties(head.phenotype)
            | {
                "glasses": float(glasses != ""),
                "sunglasses": float(glasses == "sunglasses"),
                "beard": float(beard != ""),
                "bald": float(style == "bald"),
                "lightness": float((cheeks ** (1 / GAMMA)).mean()),
            },
        )

    def _paint_roots(
        self,
        texture: Float[np.ndarray, "5 R S"],
        cover: float,
        beard: str,
        hair: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        """Colour the skin under hair and beard, in place.

        Args:
            cover: how far hair covers the scalp, in [0, 1].
            beard: its style; "" is none.
            hair: colour, sRGB.
        """
        where = self.painter.scalp if cover < FULL else self.painter.under_hair
        roots = cover * where * (0.9 + 0.1 * self.painter.grain(rng, 0.7)).clip(0, 1)
        if beard:
            grown = self.painter.features.beards[beard] * (1 - self.painter.regions["lips"])
            roots = np.maximum(roots, 0.6 * grown)
        texels = self.painter.atlas.texels
        for channel, tone in zip(texture.reshape(5, -1), [*(0.75 * hair), 0.3, 0], strict=True):
            channel[texels] += (tone - channel[texels]) * roots


def _properties(who: Phenotype) -> dict[str, float]:
    """Those that one can see, by name."""
    names = ("gender", "weight", "years", "african", "asian", "caucasian")
    return {name: getattr(who, name) for name in names}

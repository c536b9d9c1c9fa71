"""Pictures of the second edition's people, as `RenderedFaces` offers those of the first.

A session is as in the studio; only the studio is another, and so is what decides how a face looks.
"""

from functools import cache, lru_cache

import numpy as np

from mofa_lib.face_data import RenderedFaces
from mofa_lib.second.heads import HEADS
from mofa_lib.second.looks import LOOKS
from mofa_lib.second.photographer import Person, Studio
from mofa_lib.studio.recipe import recipe_of
from mofa_lib.studio.session import PhotoSession

_recipe = recipe_of("second.people", HEADS, LOOKS)


class PeopleSession(PhotoSession):
    """Everything that decides a set of pictures; equal sessions give equal bytes."""

    @property
    def recipe(self) -> str:
        """What else decides how the pictures look."""
        return _recipe

    @property
    def studio(self) -> Studio:
        """Where the pictures are taken."""
        return _studio(self.plain)

    def invited(self, chance: tuple[int, ...]) -> Person:
        """Who comes by this chance."""
        return _person(self.plain, chance)


class People(RenderedFaces):
    """Pictures of freshly drawn people; arguments and attributes as in `RenderedFaces`.

    A face's attributes are another set: gender (0 female, 1 male), weight, african, asian and
    caucasian in [0, 1], years of age; glasses, sunglasses, beard, bald, 0 or 1; lightness of the
    skin in [0, 1]; yaw in radians.
    """

    session = PeopleSession


@lru_cache(maxsize=2)  # all pictures of a person come one after the other
def _person(plain: bool, chance: tuple[int, ...]) -> Person:
    return _studio(plain).person(np.random.default_rng(chance))


@cache
def _studio(plain: bool) -> Studio:
    return Studio(plain)

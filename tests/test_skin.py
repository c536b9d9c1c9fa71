"""Skin from pigment: Beer and Lambert's law, sRGB, and painted people with their brows, eyes and
beards.
"""

import numpy as np
import pytest
import torch
from skimage.color import xyz2rgb

from mofa_lib.lighting import encode_srgb
from mofa_lib.studio.atlas import EYES, MOUTH, texture_at_vertices
from mofa_lib.studio.skin import BASE, HAIR, SkinPainter, hair_colour, skin_colour

ANCESTRY = {"african": 0.0, "asian": 0.0, "caucasian": 0.0}


def attributes(**given: float) -> dict[str, float]:
    return {"age": 0.5, "gender": 0.0, "weight": 0.5, **ANCESTRY, **given}


@pytest.fixture(scope="module")
def painter(shapes):
    return SkinPainter(shapes)


def test_srgb_is_skimage_s():
    linear = np.linspace(0, 1, 101)
    white = np.array(
        [0.95047, 1.0, 1.08883]
    )  # grey light of D65 is this colour times the linear value
    expected = xyz2rgb(linear[:, None] * white)[:, 1]
    np.testing.assert_allclose(encode_srgb(linear), expected, atol=1e-3)


def test_srgb_at_its_ends():
    np.testing.assert_allclose(encode_srgb(np.array([0.0, 1.0])), [0, 1], atol=1e-12)


def test_skin_without_pigment_is_its_base():
    np.testing.assert_allclose(
        skin_colour(np.zeros(1), np.zeros(1))[0], encode_srgb(BASE), rtol=1e-6
    )


@pytest.mark.parametrize("pigment", [0, 1])
def test_equal_layers_absorb_equal_shares(pigment):
    """Beer and Lambert: in linear light, each further layer of pigment multiplies by the same
    factor.
    """
    amounts = [np.zeros(4), np.zeros(4)]
    amounts[pigment] = np.arange(4) * 0.3
    encoded = skin_colour(*amounts)
    linear = np.where(encoded < 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    ratio = linear[1:] / linear[:-1]
    np.testing.assert_allclose(ratio, ratio[:1].repeat(3, 0), rtol=1e-6)
    assert (ratio < 1).all()


def test_blood_reddens_and_melanin_browns():
    pale, flushed, dark = skin_colour(np.array([0.1, 0.1, 1.2]), np.array([0.1, 0.8, 0.1]))
    assert flushed[0] / flushed[1] > 1.2 * pale[0] / pale[1]
    assert (dark < 0.75 * pale).all() and dark[0] > dark[1] > dark[2]


def skin(painter, seed: int, hair=HAIR[0], **given: float) -> np.ndarray:
    """Colours at the texels of the head, (P, 3)."""
    texture = painter.paint(attributes(**given), hair, np.random.default_rng(seed))
    return texture[:3].flatten(1).numpy().T[painter.atlas.texels]


def around(painter, centre: np.ndarray, radius: float) -> np.ndarray:
    return np.linalg.norm(painter.atlas.points - centre, axis=1) < radius


def test_a_seed_is_a_skin(painter):
    one, again, other = (
        painter.paint(attributes(asian=1.0), HAIR[0], np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    assert one.equal(again) and not one.equal(other)
    assert one.shape == (4, 768, 1024) and one.dtype == torch.float32
    assert 0 < one[:3].min() and one[:3].max() < 1


def test_tone_follows_ancestry_with_overlap(painter):
    def tone(**ancestry):
        face = painter.features.face > 0.5
        return [skin(painter, seed, **ancestry)[face].mean() for seed in range(6)]

    fair, medium, dark = tone(caucasian=1.0), tone(asian=1.0), tone(african=1.0)
    assert np.mean(fair) > np.mean(medium) > np.mean(dark) + 0.1
    assert np.std(fair) > 0.005  # people differ


def test_lips_are_redder_than_cheeks(painter):
    colour = skin(painter, 3, caucasian=1.0)
    redness = colour[:, 0] / colour[:, 1]
    assert (
        redness[painter.regions["lips"] > 0.9].mean()
        > redness[around(painter, painter.cheeks[0], 12)].mean()
    )


def test_an_eye_is_white_with_an_iris_and_a_pupil(painter):
    texture = painter.paint(attributes(), HAIR[0], np.random.default_rng(3))
    for rows, columns in EYES:
        patch = texture[:3, rows, columns].mean(0)
        down, right = torch.meshgrid(
            torch.arange(-63.5, 64), torch.arange(-63.5, 64), indexing="ij"
        )
        away = (down**2 + right**2).sqrt() / 4  # mm
        pupil, iris, sclera = (
            patch[(away > a) & (away < b)].mean() for a, b in ((0, 1.2), (3, 5), (7.5, 10))
        )
        assert pupil < 0.1 < iris < 0.5 < 0.65 < sclera
    assert texture[:3, *MOUTH].mean() < 0.2


def test_there_are_two_brows_with_skin_between_them(painter, shapes):
    """Dark hair on fair skin: dark along the brow landmarks, pale at the root of the nose and above
    the brows.
    """
    marks = shapes.mean.numpy()[shapes.landmarks.numpy()]
    colour = np.mean([skin(painter, seed, caucasian=1.0).mean(1) for seed in range(6)], 0)
    brows = [
        colour[around(painter, marks[number], 2.5)].mean() for number in (18, 19, 20, 23, 24, 25)
    ]
    between = colour[around(painter, (marks[21] + marks[22]) / 2, 4)].mean()
    above = colour[around(painter, marks[19] + [0, 14, 0], 4)].mean()
    assert max(brows) < 0.8 * min(between, above)


def test_the_rim_of_the_upper_lid_is_dark(painter, shapes):
    marks = shapes.mean.numpy()[shapes.landmarks.numpy()]
    colour = skin(painter, 0, caucasian=1.0).mean(1)
    for number in (37, 38, 43, 44):
        near = around(painter, marks[number], 3.5)
        assert colour[near].min() < 0.35 < 0.5 < np.quantile(colour[near], 0.9)


def test_only_men_have_beards(painter, shapes):
    chin = around(painter, shapes.mean.numpy()[int(shapes.landmarks[8])] + [0, 8, 2], 8)

    def darkest(gender):
        return min(
            skin(painter, seed, caucasian=1.0, gender=gender)[chin].mean() for seed in range(12)
        )

    assert darkest(1.0) < 0.6 * darkest(0.0)


def test_age_draws_lines_and_spots(painter):
    forehead = (painter.features.t_zone > 0.3) & (painter.atlas.points[:, 1] > 60)

    def unrest(age):
        return np.mean(
            [
                skin(painter, seed, caucasian=1.0, age=age)[forehead].std(0).mean()
                for seed in range(4)
            ]
        )

    assert unrest(1.0) > 1.3 * unrest(0.65)


def test_moles_are_dark_and_small(painter):
    moles = [painter._moles(np.random.default_rng(seed)) for seed in range(40)]
    covered = np.array([(mole > 0.05).mean() for mole in moles])
    assert (covered == 0).sum() < 12 and 0 < np.median(covered) < 0.002 and covered.max() < 0.01
    darkest = np.array([mole.max() for mole in moles])
    assert (darkest[covered > 0] > 0.15).all() and darkest.max() < 3


def test_vertex_colours_are_the_texture_around_the_vertices(painter, shapes):
    """On a cheek without much detail, the mean of the texels within a few millimetres."""
    texture = painter.paint(attributes(asian=1.0), HAIR[0], np.random.default_rng(4))
    colours = texture_at_vertices(texture[:3], shapes).numpy()
    texels = texture[:3].flatten(1).numpy().T[painter.atlas.texels]
    vertices = np.flatnonzero(np.linalg.norm(shapes.mean.numpy() - painter.cheeks[1], axis=1) < 15)
    expected = [texels[around(painter, shapes.mean.numpy()[v], 1.7)].mean(0) for v in vertices]
    assert len(vertices) > 10
    np.testing.assert_allclose(colours[vertices], expected, atol=0.02)


def test_hair_turns_grey_with_age():
    def greyness(age):
        drawn = [
            hair_colour(attributes(caucasian=1.0, age=age), np.random.default_rng(seed))
            for seed in range(200)
        ]
        return np.mean(
            [colour.max() - colour.min() < 0.1 and colour.mean() > 0.4 for colour in drawn]
        )

    assert greyness(0.5) == 0 and greyness(1.0) > 0.3

"""Skin from pigment: Beer and Lambert's law, sRGB, and painted people."""

import numpy as np
import pytest
import torch
from skimage.color import xyz2rgb

from mofa_lib.exemplars import HeadShapes
from mofa_lib.skin import BASE, HAIR, SkinPainter, encode_srgb, hair_colour, skin_colour

ANCESTRY = {"african": 0.0, "asian": 0.0, "caucasian": 0.0}


def attributes(**given: float) -> dict[str, float]:
    return {"age": 0.5, "gender": 0.0, "weight": 0.5, **ANCESTRY, **given}


@pytest.fixture(scope="module")
def painter():
    return SkinPainter(HeadShapes())


def test_srgb_is_skimage_s():
    linear = np.linspace(0, 1, 101)
    white = np.array([0.95047, 1.0, 1.08883])  # grey light of D65 is this colour times the linear value
    expected = xyz2rgb(linear[:, None] * white)[:, 1]
    np.testing.assert_allclose(encode_srgb(linear), expected, atol=1e-3)


def test_srgb_at_its_ends():
    np.testing.assert_allclose(encode_srgb(np.array([0.0, 1.0])), [0, 1], atol=1e-12)


def test_skin_without_pigment_is_its_base():
    np.testing.assert_allclose(skin_colour(np.zeros(1), np.zeros(1))[0], encode_srgb(BASE), rtol=1e-12)


@pytest.mark.parametrize("pigment", [0, 1])
def test_equal_layers_absorb_equal_shares(pigment):
    """Beer and Lambert: in linear light, each further layer of pigment multiplies by the same factor."""
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


def test_a_seed_is_a_skin(painter):
    one, again, other = (
        painter.paint(attributes(asian=1.0), HAIR[0], np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert one.equal(again) and not one.equal(other)
    assert one.shape == (len(painter.points), 3) and one.dtype == torch.float32
    assert 0 < one.min() and one.max() < 1


def test_tone_follows_ancestry_with_overlap(painter):
    def tone(**ancestry):
        face = painter.regions["face"] > 0.5
        return [
            float(painter.paint(attributes(**ancestry), HAIR[0], np.random.default_rng(seed))[face].mean())
            for seed in range(6)
        ]

    fair, medium, dark = tone(caucasian=1.0), tone(asian=1.0), tone(african=1.0)
    assert np.mean(fair) > np.mean(medium) > np.mean(dark) + 0.1
    assert np.std(fair) > 0.005  # people differ


def test_lips_are_redder_than_cheeks_and_irises_darker_than_sclera(painter):
    colour = painter.paint(attributes(caucasian=1.0), HAIR[0], np.random.default_rng(3)).numpy()
    lips = painter.regions["lips"] > 0.9
    cheek = painter.blob(painter.cheeks[0], 17) > 0.7
    redness = colour[:, 0] / colour[:, 1]
    assert redness[lips].mean() > redness[cheek].mean()
    for eye, pupil in painter.pupils:
        away = np.linalg.norm(painter.points[eye] - pupil, axis=1)
        assert colour[eye[away < 2]].mean() < 0.3 < 0.6 < colour[eye[away > 9]].mean()


def test_fields_have_their_amplitude_and_are_nearly_symmetric(painter):
    values = np.stack([painter.field(np.random.default_rng(seed), 0.3, 20) for seed in range(300)])
    assert values.std(0).mean() == pytest.approx(0.3, rel=0.05)
    mirror = painter.points * [-1, 1, 1]
    twin = ((painter.points[:, None] - mirror[:300]) ** 2).sum(2).argmin(0)
    left_right = np.corrcoef(values[:, :300].ravel(), values[:, twin].ravel())[0, 1]
    assert 0.8 < left_right < 0.9999


def test_a_blob_is_a_gaussian(painter):
    centre = painter.points[100]
    at_one_sigma = np.abs(np.linalg.norm(painter.points - centre, axis=1) - 17) < 0.3
    assert painter.blob(centre, 17)[100] == 1
    assert painter.blob(centre, 17)[at_one_sigma].mean() == pytest.approx(np.exp(-0.5), abs=0.02)


def test_hair_turns_grey_with_age():
    def greyness(age):
        drawn = [hair_colour(attributes(caucasian=1.0, age=age), np.random.default_rng(seed)) for seed in range(200)]
        return np.mean([colour.max() - colour.min() < 0.1 and colour.mean() > 0.4 for colour in drawn])

    assert greyness(0.5) == 0 and greyness(1.0) > 0.3

"""Skins: pigment that adds up, and painted people with their brows, eyes, folds and lids."""

import numpy as np
import pytest
import torch

from mofa_lib.studio.atlas import COLUMNS, EYES, MOUTH, ROWS, texture_at_vertices
from mofa_lib.studio.looks import BROW_WINDOW, load_looks
from mofa_lib.studio.phenotype import Phenotype
from mofa_lib.studio.skin import SkinPainter, _raised, optical_density, reflected

BLACK = np.array([0.1, 0.08, 0.07])  # hair
ANCESTRY = {"african": 0.0, "asian": 0.0, "caucasian": 0.0}


def somebody(**given: float) -> Phenotype:
    return Phenotype(**{"gender": 0.0, "years": 30.0, **ANCESTRY, **given})


@pytest.fixture(scope="module")
def painter(shapes):
    return SkinPainter(shapes, load_looks())


def test_equal_layers_absorb_equal_shares():
    """Beer and Lambert: in linear light, each further layer multiplies by the same factor."""
    once = optical_density(torch.tensor([0.8, 0.6, 0.4])).numpy()
    linear = np.stack([reflected(layers * once) for layers in range(4)]) ** 2.2
    ratio = linear[1:] / linear[:-1]
    np.testing.assert_allclose(ratio, ratio[:1].repeat(3, 0), rtol=1e-5)
    np.testing.assert_allclose(reflected(once), [0.8, 0.6, 0.4], rtol=1e-5)


def skin(painter, seed: int, **given: float) -> np.ndarray:
    """Colours at the texels of the head, (P, 3)."""
    texture = painter.paint(somebody(**given), BLACK, np.random.default_rng(seed))
    return texture[:3].flatten(1).numpy().T[painter.atlas.texels]


def around(painter, centre: np.ndarray, radius: float) -> np.ndarray:
    return np.linalg.norm(painter.atlas.points - centre, axis=1) < radius


def test_a_seed_is_a_skin(painter):
    one, again, other = (
        painter.paint(somebody(asian=1.0), BLACK, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert one.equal(again) and not one.equal(other)
    assert one.shape == (4, ROWS, COLUMNS) and one.dtype == torch.float32
    assert 0 < one[:3].min() and one[:3].max() < 1


def test_tone_follows_ancestry_with_overlap(painter):
    def tone(**ancestry):
        face = painter.features.face > 0.5
        return [skin(painter, seed, **ancestry)[face].mean() for seed in range(4)]

    fair, dark = tone(caucasian=1.0), tone(african=1.0)
    assert np.mean(fair) > np.mean(dark) + 0.1
    assert np.std(fair) > 0.005  # people differ


def test_lips_are_redder_than_cheeks(painter):
    colour = skin(painter, 3, caucasian=1.0)
    redness = colour[:, 0] / colour[:, 1]
    assert (
        redness[painter.regions["lips"] > 0.9].mean()
        > redness[around(painter, painter.cheeks[0], 12)].mean()
    )


def test_an_eye_is_white_with_an_iris_and_a_pupil(painter):
    texture = painter.paint(somebody(asian=1.0), BLACK, np.random.default_rng(3))
    for rows, columns in EYES:
        patch = texture[:3, rows, columns].mean(0)
        down, right = torch.meshgrid(
            torch.arange(-63.5, 64), torch.arange(-63.5, 64), indexing="ij"
        )
        away = (down**2 + right**2).sqrt() / 4  # mm
        pupil, iris, sclera = (
            patch[(away > a) & (away < b)].mean() for a, b in ((0, 1.2), (3, 5), (7.5, 10))
        )
        assert pupil < 0.1 < iris < 0.5 < 0.55 < sclera
    assert texture[:3, *MOUTH].mean() < 0.2


def test_brows_lie_above_the_eyes(painter, shapes):
    marks = shapes.mean[shapes.landmarks].numpy()
    atlas = painter.atlas
    for number, brow in enumerate(painter._brows):
        for male in (False, True):
            page = np.zeros((ROWS, COLUMNS))
            page[BROW_WINDOW] = _raised(brow, male, np.random.default_rng(number))
            where = atlas.points[page.ravel()[atlas.texels] > 0.5 * page.max()]
            assert (where[:, 1] > marks[36:48, 1].max() - 1).all()
            assert (where[:, 1] < marks[17:27, 1].max() + 20).all()
    rows, columns = BROW_WINDOW
    assert rows.stop <= 768 and columns.stop <= 1024


def test_the_rim_of_the_upper_lid_is_dark(painter, shapes):
    marks = shapes.mean.numpy()[shapes.landmarks.numpy()]
    colour = skin(painter, 0, caucasian=1.0).mean(1)
    for number in (37, 38, 43, 44):
        near = around(painter, marks[number], 3.5)
        assert colour[near].min() < 0.35 < 0.5 < np.quantile(colour[near], 0.9)


def test_age_draws_lines_and_spots(painter):
    forehead = (painter.features.t_zone > 0.3) & (painter.atlas.points[:, 1] > 60)

    def unrest(years):
        seeds = range(4)
        drawn = [skin(painter, seed, caucasian=1.0, years=years)[forehead] for seed in seeds]
        return np.mean([colour.std(0).mean() / colour.mean() for colour in drawn])

    assert unrest(78) > 1.3 * unrest(22)


def test_vertex_colours_are_the_texture_around_the_vertices(painter, shapes):
    """On a cheek without much detail, the mean of the texels within a few millimetres."""
    texture = painter.paint(somebody(asian=1.0), BLACK, np.random.default_rng(4))
    colours = texture_at_vertices(texture[:3], shapes).numpy()
    texels = texture[:3].flatten(1).numpy().T[painter.atlas.texels]
    vertices = np.flatnonzero(np.linalg.norm(shapes.mean.numpy() - painter.cheeks[1], axis=1) < 15)
    expected = [texels[around(painter, shapes.mean.numpy()[v], 1.7)].mean(0) for v in vertices]
    assert len(vertices) > 10
    np.testing.assert_allclose(colours[vertices], expected, atol=0.02)

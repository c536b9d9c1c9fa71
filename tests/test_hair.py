"""Hair: its colours, and strands on surfaces that one sees through."""

import numpy as np
import torch
from scipy import sparse

from mofa_lib.raster import rasterize
from mofa_lib.studio.darkroom import Surface, shade
from mofa_lib.studio.hair import COLOURS, hair_colour
from mofa_lib.studio.light import Light
from mofa_lib.studio.phenotype import Phenotype
from mofa_lib.studio.strands import Strands


def test_old_people_are_greyer():
    rng = np.random.default_rng(2)
    colours = {
        years: np.mean([hair_colour(Phenotype(gender=1, years=years), rng) for _ in range(60)], 0)
        for years in (20, 78)
    }
    assert colours[78].mean() > colours[20].mean() + 0.2
    spread = {years: np.ptp(colour) / colour.mean() for years, colour in colours.items()}
    assert spread[78] < spread[20]
    assert len(COLOURS) == 6


def test_what_has_no_strands_is_not_seen():
    """A pane of two triangles, of which the page fills the left half: against a mask by hand."""
    screen = torch.tensor([[[1.0, 1, 5], [1, 9, 5], [9, 9, 5], [9, 1, 5]]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    places = torch.tensor([[[0.0, 0], [0, 1], [1, 1]], [[0, 0], [1, 1], [1, 0]]])

    def left_half(triangle, weights):
        return (places[triangle] * weights.T[..., None]).sum(1)[:, 0] < 0.5

    whole = rasterize(screen, faces, 10).face[0] >= 0
    found = rasterize(screen, faces, 10, opaque=left_half).face[0] >= 0
    assert whole.sum() == 64
    columns = torch.arange(10) + 0.5
    assert found.equal(whole & (columns < 5))


def test_one_sees_through_the_gaps_of_hair_what_lies_behind():
    """White strands on the left half of a sheet before a black wall."""
    square = torch.tensor([[[0.0, 0, 9], [0, 8, 9], [8, 8, 9], [8, 0, 9]]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    places = torch.tensor([[[0.0, 0], [0, 1], [1, 1]], [[0, 0], [1, 1], [1, 0]]])
    facing = torch.tensor([0.0, 0, 1]).expand(1, 4, 3)
    page = torch.zeros(2, 8, 8)
    page[0], page[1, :, :4] = 1, 1
    still = sparse.csr_matrix((4, 4))
    strands = Strands(
        points=square[0], normals=facing[0], follow=still, triangles=faces, places=places,
        level=torch.full((2, 3), 0.5), colour=torch.ones(2, 3), skin=torch.zeros(2), page=page,
    )  # fmt: skip
    texture = torch.zeros(5, 8, 8)
    texture[4] = 1  # bare
    nearer = square - torch.tensor([0.0, 0, 4])
    samples = shade(
        Surface(square, facing, faces, places), Surface(nearer, facing, faces, places),
        texture, strands, torch.ones(4), Light.even(), 8,
    )  # fmt: skip
    picture = samples.colour[0].mean(0).reshape(16, 16)
    assert (picture[:, :8] > 0.8).all() and (picture[:, 8:] < 0.2).all()
    bare = samples.bare[0].reshape(16, 16)
    assert (bare[:, :8] == 0).all() and (bare[:, 8:] > 0.5).all()

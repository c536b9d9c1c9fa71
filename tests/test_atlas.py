"""The texture atlas: a round trip from the surface to the texels and back."""

import numpy as np
import pytest
import torch

from mofa_lib.camera import Camera, pose
from mofa_lib.raster import interpolate, rasterize
from mofa_lib.studio.atlas import COLUMNS, EYES, ROWS, Atlas, read_texture, texture_at_vertices


@pytest.fixture(scope="module")
def atlas(shapes):
    return Atlas(shapes)


@pytest.fixture(scope="module")
def places(shapes, atlas):
    """A texture that says of each texel where on the mean head it lies, mm."""
    return torch.from_numpy(atlas.unfold(atlas.points)).permute(2, 0, 1)


@pytest.mark.parametrize("yaw", [0.0, 0.9, -0.9])
def test_a_picture_of_the_places_shows_the_places(shapes, places, yaw):
    """Each pixel reads from the texture where it is, as interpolated vertices say, within a texel
    or two.
    """
    turned = pose(shapes.mean[None], torch.tensor([[0.0, yaw, 0.0]]), torch.zeros(1, 3))
    fragments = rasterize(Camera().project(turned, 112), shapes.triangles, 112)
    seen = read_texture(places, shapes.texture_coordinates, fragments)
    expected = interpolate(fragments, shapes.triangles, shapes.mean[None])
    eyes_or_mouth = interpolate(
        fragments,
        shapes.triangles,
        (shapes.regions["eyes"] + shapes.regions["mouth"])[None, :, None],
    )
    skin = (fragments.face >= 0) & (eyes_or_mouth[..., 0] == 0)
    wrong = (seen - expected).norm(dim=-1)[skin]
    assert skin.sum() > 3000 and wrong.median() < 0.1 and wrong.quantile(0.99) < 1.5


def test_an_eyeball_is_seen_from_the_front(shapes, places):
    """Four texels a millimetre around the pupil."""
    marks = shapes.mean[shapes.landmarks]
    for (rows, columns), corners in zip(EYES, ((36, 39), (42, 45)), strict=True):
        patch = places[:, rows, columns]
        pupil = patch[:, 64, 64]
        assert (pupil - marks[list(corners)].mean(0)).norm() < 8
        assert patch[0, 64, 84] - patch[0, 64, 44] == pytest.approx(10, abs=0.8)
        assert patch[1, 44, 64] - patch[1, 84, 64] == pytest.approx(10, abs=0.8)


def test_values_spread_linearly(shapes, atlas):
    """A linear function of place, given at the vertices, is that function at the texels."""
    slope = np.array([[1.0, 2.0], [-1.0, 0.5], [3.0, 0.0]], np.float32)
    np.testing.assert_allclose(
        atlas.spread(shapes.mean.numpy() @ slope), atlas.points @ slope, atol=1e-2
    )


def test_the_texture_has_no_holes(atlas):
    marked = atlas.unfold(np.ones((len(atlas.texels), 1)))
    assert marked.shape == (ROWS, COLUMNS, 1) and (marked == 1).all()


def test_vertices_read_where_they_lie(shapes, places):
    read = texture_at_vertices(places, shapes)
    skin = (shapes.regions["eyes"] + shapes.regions["mouth"]) == 0
    wrong = (read - shapes.mean).norm(dim=1)[skin]
    assert wrong.median() < 0.3


def test_a_vertex_on_a_seam_reads_at_its_last_place(shapes):
    """Whatever the number of threads: the face model is learnt from what is read here."""
    last = {}  # vertex → its place in the atlas
    corners = zip(
        shapes.triangles.flatten().tolist(), shapes.texture_coordinates.flatten(0, 1), strict=True
    )
    for vertex, place in corners:
        last[vertex] = place
    expected = torch.stack([last[vertex] for vertex in sorted(last)])

    rows, columns = torch.arange(ROWS) + 0.5, torch.arange(COLUMNS) + 0.5
    across, down = torch.meshgrid(columns / COLUMNS, rows / ROWS, indexing="xy")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        read = texture_at_vertices(torch.stack([across, down]), shapes)[sorted(last)]
    finally:
        torch.set_num_threads(before)
    # Near the edge of the atlas the average is not about the place.
    inside = ((expected > 0.01) & (expected < 0.99)).all(1)
    assert inside.sum() > 1000
    torch.testing.assert_close(read[inside], expected[inside], rtol=0, atol=1e-4)

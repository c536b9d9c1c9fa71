"""Photographs: deterministic, aligned, landmarks, skin and light where they belong, one person in
different light.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.transform import SimilarityTransform

from mofa_lib.alignment import five_point_template
from mofa_lib.faces import five_points
from mofa_lib.studio import Studio
from mofa_lib.studio.atlas import CLOTH, FRAMES, MOUTH, TEETH
from mofa_lib.studio.photographer import Photographs

SIZE = 64
BARE = 4  # the channel of a texture that tells skin from what is worn


@pytest.fixture(scope="module")
def studio():
    return Studio()


@pytest.fixture(scope="module")
def people(studio):
    return [studio.person(np.random.default_rng(seed)) for seed in range(4)]


@pytest.fixture(scope="module")
def plain():
    return Studio(plain=True)


def rngs(*seeds):
    return [np.random.default_rng([9, seed]) for seed in seeds]


def shoot(studio, person, *seeds, size=SIZE) -> Photographs:
    return studio.photograph(person, rngs(*seeds), size)


def test_a_seed_is_a_photograph(studio, people):
    """Also when it is taken among others."""
    three, again = shoot(studio, people[0], 1, 2, 3), shoot(studio, people[0], 2)
    assert three.images.shape == (3, 3, SIZE, SIZE) and three.images.dtype == torch.uint8
    assert (three.images[1].int() - again.images[0].int()).abs().max() <= 1
    torch.testing.assert_close(three.landmarks[1], again.landmarks[0], atol=1e-3, rtol=0)
    assert (three.skin[1] != again.skin[0]).sum() <= 2
    assert (three.images[0].float() - three.images[1].float()).abs().mean() > 5


def test_photographs_are_aligned_up_to_a_detector_s_errors(studio, people):
    """The five points lie near the template; what remains is noise and pose, not scale, turn or
    shift.
    """
    template = five_point_template(SIZE)
    for person in people:
        for marks in shoot(studio, person, *range(6)).landmarks:
            found = five_points(marks)
            assert (found - template).norm(dim=1).mean() < 0.07 * SIZE
            left_over = SimilarityTransform.from_estimate(found.numpy(), template.numpy())
            assert abs(left_over.scale - 1) < 0.12 and abs(left_over.rotation) < 0.12


@pytest.mark.parametrize("mark", [30, 8, 48, 54])
def test_landmarks_are_where_the_picture_shows_them(plain, mark):
    """Two photographs that differ only in the colour around one landmark differ around that
    landmark.
    """
    person = plain.person(np.random.default_rng(1))
    atlas = plain.casting.painter.atlas
    vertex = plain.shapes.mean.numpy()[int(plain.shapes.landmarks[mark])]
    spot = atlas.texels[np.linalg.norm(atlas.points - vertex, axis=1) < 7]
    pictures = []
    for colour in (0.0, 1.0):
        texture = person.texture.clone()
        texture.flatten(1)[:3, spot] = colour
        taken = shoot(plain, replace(person, texture=texture), 0, 1, 2, size=112)
        pictures.append(taken.images.float())
    change = (pictures[1] - pictures[0]).abs().mean(1)
    grid, weight = torch.arange(112) + 0.5, change.sum((1, 2))
    x, y = (change.sum(1) * grid).sum(1) / weight, (change.sum(2) * grid).sum(1) / weight
    torch.testing.assert_close(torch.stack([x, y], 1), taken.landmarks[:, mark], atol=3.0, rtol=0)


def test_skin_is_where_the_skin_shows(studio, plain):
    """With hair and glasses on: pixels that change when bare skin is painted are the mask."""
    dressed = (studio.person(np.random.default_rng(seed)) for seed in range(40))
    wearer = next(p for p in dressed if p.attributes["glasses"] and not p.attributes["bald"])
    pictures = []
    for colour in (0.0, 1.0):
        texture = wearer.texture.clone()
        texture[:3] = torch.where(texture[BARE] > 0.5, colour, texture[:3])
        # Even light, a grey wall, a perfect camera.
        taken = shoot(plain, replace(wearer, texture=texture), 0, 1, size=112)
        pictures.append(taken.images.float())
    painted = (pictures[1] - pictures[0]).mean(1) > 0.4 * 255
    for patch in (CLOTH, FRAMES, TEETH, MOUTH):
        assert not wearer.texture[BARE, *patch].any()
    overlap = (painted & taken.skin).sum() / (painted | taken.skin).sum()
    assert overlap > 0.95 and 0.1 < taken.skin.float().mean() < 0.6


def test_hair_is_no_bare_skin(studio, plain):
    """The same people, bald and not, in even light: hair takes skin away, and adds none."""
    bare = {}
    for each in (studio, plain):
        people = [each.person(np.random.default_rng(seed)) for seed in range(6)]
        bare[each] = torch.cat([shoot(plain, person, 1).skin for person in people])
    assert bare[studio].sum() < 0.9 * bare[plain].sum()
    assert (bare[studio] & ~bare[plain]).float().mean() < 0.02


def test_the_expression_of_a_photograph_is_known(studio, people):
    """`face` with a shot of a fresh copy of the photograph's generator gives the vertices behind
    the landmarks.
    """
    from scipy.optimize import least_squares

    from mofa_lib.camera import Camera, pose

    marks = shoot(studio, people[2], 5).landmarks[0]

    def misfit(parameters, vertices):
        turn, (size, *shift) = torch.from_numpy(parameters[:3])[None], parameters[3:6]
        camera = Camera(distance=1000 * parameters[6])
        seen = camera.project(pose(vertices[None], turn, torch.zeros(1, 3).double()), SIZE)[
            0, :, :2
        ]
        return (size * seen + torch.tensor(shift) - marks).flatten().numpy()

    errors = []
    for seed in (5, 6):
        shot = studio.shot(rngs(seed)[0])
        vertices = studio.face(people[2], shot)[studio.shapes.landmarks].double()
        errors.append(
            np.mean(least_squares(misfit, [0, 0, 0, 1, 0, 0, 1], args=(vertices,)).fun ** 2)
        )
    assert np.sqrt(errors[0]) < 0.25 and errors[1] > 4 * errors[0]


def test_light_turns_with_the_picture(studio, people, monkeypatch):
    """A lamp in the direction d of the camera's frame lights the turned picture from the turned
    direction.
    """
    shot = studio.shot(rngs(3)[0])
    angle = 0.7
    turn = torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).float()
    monkeypatch.setattr(studio, "_align", lambda *given: (1.3 * turn, torch.zeros(2), None))
    found = studio.light(people[0], shot, SIZE)
    in_the_picture = shot.light.directions[..., :2] * torch.tensor([1.0, -1.0])  # y points down
    turned = (in_the_picture @ turn.T) * torch.tensor([1.0, -1.0])
    expected = replace(
        shot.light, directions=torch.cat([turned, shot.light.directions[..., 2:]], 2)
    ).harmonics()[0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


def test_attributes_tell_person_outfit_and_pose(studio, people):
    shot = studio.shot(rngs(1)[0])
    for person in people:
        attributes = studio.attributes(person, shot)
        assert attributes == {**person.attributes, "yaw": float(shot.rotation[1])}
        who = person.head.phenotype
        for name in ("gender", "weight", "years", "african", "asian", "caucasian"):
            assert attributes[name] == getattr(who, name)
        assert attributes["sunglasses"] <= attributes["glasses"]
        assert attributes["beard"] <= who.male and attributes["bald"] <= who.male
    tones = [(a["lightness"], a["african"]) for a in (studio.attributes(p, shot) for p in people)]
    assert (
        min(tones)[1] == max(tones, key=lambda t: t[1])[1]
    )  # the darkest skin is the most african


def test_plain_pictures_have_no_variety(plain):
    taken = shoot(plain, plain.person(np.random.default_rng(3)), 0, 1)
    for picture, skin in zip(taken.images, taken.skin, strict=True):
        wall = (picture == 128).all(0)
        assert wall.float().mean() > 0.2 and not (wall & skin).any()
    assert taken.skin.any()


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

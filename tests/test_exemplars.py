"""Random heads: rigid alignment against scipy, and what every mixed person must satisfy."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from mofa_lib.procrustes import rigid_alignment
from mofa_lib.studio.heads import pack_shapes, unpack_shapes
from mofa_lib.studio.phenotype import Phenotype


@pytest.mark.parametrize("mirrored", [False, True])
def test_rigid_alignment_is_scipy_s(mirrored):
    """Also where a reflection would fit better: a face is never mirrored."""
    rng = np.random.default_rng(0)
    source = rng.normal(0, [3, 2, 1], (20, 3))
    target = (
        Rotation.random(random_state=1).apply(source) + [5, -2, 9] + rng.normal(0, 0.1, (20, 3))
    )
    if mirrored:
        target[:, 0] *= -1
    rotation, translation = rigid_alignment(torch.from_numpy(source), torch.from_numpy(target))
    expected, _ = Rotation.align_vectors(target - target.mean(0), source - source.mean(0))
    np.testing.assert_allclose(rotation, expected.as_matrix(), atol=1e-9)
    np.testing.assert_allclose(
        translation, target.mean(0) - rotation.numpy() @ source.mean(0), atol=1e-9
    )


def test_rigid_alignment_undoes_a_known_motion():
    source = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    turn = torch.from_numpy(Rotation.from_euler("xyz", [0.4, -1.2, 2.9]).as_matrix()).float()
    rotation, translation = rigid_alignment(source @ turn.T + torch.tensor([1.0, 2.0, 3.0]), source)
    torch.testing.assert_close(rotation, turn.T, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        translation, -turn.T @ torch.tensor([1.0, 2.0, 3.0]), atol=1e-5, rtol=0
    )


def test_the_model_s_vertices_are_those_of_the_heads(shapes, model):
    assert len(shapes.model_vertices) == len(model.mean_shape)
    picked = shapes.mean[shapes.model_vertices]  # a head of 25 years; the model's mean is older
    assert (picked - picked.mean(0) - model.mean_shape).norm(dim=1).mean() < 5
    assert shapes.model_vertices[model.landmarks].equal(shapes.landmarks)
    for name, mask in shapes.regions.items():
        assert mask.shape == (len(shapes.mean),) and 0 <= mask.min() and 0.5 < mask.max() <= 1, name


def test_packed_shapes_come_back():
    """All of them, also one that moves nothing; float16 and a hundredth of a millimetre apart."""
    shapes = torch.zeros(3, 50, 3)
    shapes[0, 3:9] = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    shapes[2, 49] = torch.tensor([5.0, 0.0, -2.0])
    packed = pack_shapes(shapes, "x")
    assert set(packed) == {"x.values", "x.vertices", "x.counts"} and len(packed["x.values"]) == 7
    torch.testing.assert_close(unpack_shapes(packed, "x", 50), shapes, atol=0.01, rtol=1e-3)


def test_little_sky_reaches_the_nostrils_and_much_the_tip_of_the_nose(shapes):
    marks = shapes.landmarks
    sky = shapes.occlusion
    assert 0 <= sky.min() and sky.max() <= 1
    assert sky[marks[30]] > 0.9 and sky[marks[19]] > 0.8
    inside = shapes.regions["mouth"] > 0.9
    assert sky[inside].mean() < 0.15
    assert (
        sky[marks[[39, 42]]].mean() < sky[marks[30]] - 0.1
    )  # the inner corners of the eyes lie deep


def test_a_seed_is_a_person(shapes):
    one, again, other = (shapes.head(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.neutral.equal(again.neutral) and one.phenotype == again.phenotype
    assert (one.neutral - other.neutral).norm(dim=1).mean() > 1


def test_people_are_plausible(shapes):
    for seed in range(10):
        head = shapes.head(np.random.default_rng(seed))
        apart = (head.neutral - shapes.mean)[shapes.model_vertices].norm(dim=1)
        assert 1 < apart.mean() < 20 and apart.max() < 80  # mm


def test_people_are_aligned_to_the_mean_head(shapes):
    """No rigid motion brings a neutral head nearer: turning it back would be the identity."""
    kept = shapes.model_vertices
    for seed in range(3):
        neutral = shapes.head(np.random.default_rng(seed)).neutral
        rotation, translation = rigid_alignment(neutral[kept], shapes.mean[kept])
        torch.testing.assert_close(rotation, torch.eye(3), atol=1e-4, rtol=0)
        torch.testing.assert_close(translation, torch.zeros(3), atol=1e-2, rtol=0)


def test_expressions_are_a_few_movements_left_and_right_alike(shapes):
    index = shapes.actions.index
    drawn = torch.stack([shapes.expression(np.random.default_rng(seed)) for seed in range(200)])
    assert 0 <= drawn.min() and drawn.max() <= 1
    assert 0.5 < (drawn > 0).sum(1).float().mean() < 20
    for name in shapes.actions:
        if name.endswith("Right"):
            left, right = (
                drawn[:, index(name.removesuffix("Right") + "Left")],
                drawn[:, index(name)],
            )
            assert ((left > 0) == (right > 0)).all(), name
            limit = 0.61 if "Smile" in name else 0.21  # smiles are often crooked
            assert (left - right).abs().max() <= limit, name


def test_actions_move_what_their_names_say(shapes):
    head = shapes.head(np.random.default_rng(0))
    moved = head.expressions.norm(dim=2)
    marks = shapes.landmarks

    def nearest_part(action: str) -> str:
        centre = head.neutral[moved[shapes.actions.index(action)].argmax()]
        parts = {"mouth": slice(48, 60), "right eye": slice(36, 42), "left eye": slice(42, 48)}
        away = {
            part: (head.neutral[marks[points]] - centre).norm(dim=1).min()
            for part, points in parts.items()
        }
        return min(away, key=away.get)

    assert nearest_part("mouthSmileLeft") == "mouth"
    assert nearest_part("eyeBlinkLeft") == "left eye"
    assert nearest_part("eyeBlinkRight") == "right eye"


def test_men_and_women_differ_where_they_do(shapes):
    """Men have longer faces, larger noses, and brows nearer to the eyes."""
    heads = [
        shapes.average(Phenotype(gender=gender, caucasian=1, african=0, asian=0))
        for gender in (0.0, 1.0)
    ]
    woman, man = (head[shapes.landmarks] for head in heads)

    def high(marks, upper, lower):
        return float(marks[upper, 1] - marks[lower, 1])  # mm

    assert high(man, 27, 8) > 1.03 * high(woman, 27, 8)
    assert high(man, 27, 33) > 1.03 * high(woman, 27, 33)
    assert high(man, 19, 37) < high(woman, 19, 37)

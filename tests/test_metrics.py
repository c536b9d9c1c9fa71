"""Errors and intervals against closed forms, other libraries and simulation."""

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial.transform import Rotation
from skimage.metrics import peak_signal_noise_ratio

from mofa_lib.lighting import irradiance, sphere_points
from mofa_lib.mesh import vertex_normals
from mofa_lib.metrics import (
    auroc,
    auroc_interval,
    auroc_of_pairs,
    geometric_error,
    landmark_error,
    light_error,
    linf,
    mean_interval,
    normal_error,
    psnr,
    rate,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_geometric_error_forgives_rigid_motion_only():
    true = 50 * torch.randn(4, 30, 3, generator=seeded())
    found = true + torch.randn(4, 30, 3, generator=seeded(1))
    turn = torch.from_numpy(Rotation.random(4, random_state=0).as_matrix()).float()
    moved = found @ turn.transpose(1, 2) + torch.tensor([10.0, -20.0, 30.0])
    torch.testing.assert_close(
        geometric_error(moved, true), geometric_error(found, true), atol=1e-3, rtol=0
    )
    assert geometric_error(true @ turn.transpose(1, 2), true).max() < 1e-3
    assert geometric_error(1.1 * true, true).min() > 1
    assert geometric_error(true * torch.tensor([-1.0, 1, 1]), true).min() > 1


def test_geometric_error_with_scale_forgives_size_and_finds_the_best_one():
    true = 50 * torch.randn(1, 40, 3, generator=seeded(), dtype=torch.float64)
    turn = torch.from_numpy(Rotation.from_euler("xyz", [0.3, -0.5, 0.2]).as_matrix())
    assert (
        geometric_error(1.3 * true @ turn.T + 7, true, scale=True)
        < 1e-9
        < geometric_error(1.3 * true, true)
    )
    noisy = true + torch.randn(true.shape, generator=seeded(1), dtype=torch.float64)
    plain = noisy - noisy.mean(1, keepdim=True)
    aim = true - true.mean(1, keepdim=True)
    squares = [float((s * plain - aim).square().sum()) for s in torch.linspace(0.9, 1.1, 201)]
    best = 0.9 + 0.001 * int(np.argmin(squares))
    assert geometric_error(noisy, true, scale=True) == pytest.approx(
        float((best * plain - aim).norm(dim=2).mean()), abs=0.05
    )


def test_geometric_error_is_a_mean_distance():
    """A cross whose arms grow by 2 mm each."""
    cross = 10 * torch.cat([torch.eye(3), -torch.eye(3)])[None]
    torch.testing.assert_close(
        geometric_error(1.2 * cross, cross), torch.tensor([2.0]), atol=1e-4, rtol=0
    )


def test_normal_error_is_an_angle_that_forgives_rigid_motion(sphere):
    points, faces = sphere
    true = (80 * points * torch.tensor([1.0, 1.2, 0.9]))[None].float()
    turn = torch.from_numpy(Rotation.from_euler("xyz", [0.3, -0.5, 0.2]).as_matrix()).float()
    assert normal_error(true @ turn.T + 5, true, faces).max() < 0.1
    found = true * torch.tensor([1.1, 1.0, 1.0])
    a, b = vertex_normals(found, faces)[0].double(), vertex_normals(true, faces)[0].double()
    expected = [
        np.degrees(np.arccos(np.clip(float(p @ q), -1, 1))) for p, q in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(normal_error(found, true, faces)[0], expected, atol=0.1)


def test_light_error_forgives_brightness_and_tint_but_not_direction():
    def light(*of_each_channel):
        return torch.tensor(of_each_channel, dtype=torch.float32)[None]

    plain = [0.0, 0.3, 0.2, 0.1, 0, 0, 0, 0, 0]
    true = light(plain, plain, plain)
    white = 1 / 0.28209479  # of Y00, what gives an irradiance of 1
    twice = light(
        *[[white + 2 * plain[0], *(2 * p for p in plain[1:])]] * 3
    )  # 1 + 1 + 2 Σ = 2 (1 + Σ)
    assert light_error(twice, true) < 1e-4
    other = light(*[[0.0, -0.3, 0.2, -0.1, 0, 0, 0, 0, 0]] * 3)
    normals = sphere_points(5000)
    normals = normals[normals[:, 2] > 0][None]
    a, b = irradiance(normals, other).double(), irradiance(normals, true).double()
    scale = (a * b).sum(1) / (a * a).sum(1)
    expected = float(((scale[:, None] * a - b).square().mean() / b.square().mean()).sqrt())
    assert float(light_error(other, true)) == pytest.approx(expected, rel=0.02) and expected > 0.05


def test_landmark_error_is_a_mean_distance():
    true = torch.zeros(2, 2, 2)
    found = torch.tensor([[[3.0, 4.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert landmark_error(found, true).tolist() == [3.0, 0.0]


def test_linf_is_in_grey_levels():
    perturbation = torch.zeros(2, 3, 4, 4)
    perturbation[0, 1, 2, 3] = -8 / 255
    assert linf(perturbation).tolist() == pytest.approx([8.0, 0.0])


def test_psnr_is_skimage_s():
    a, b = (torch.rand(3, 3, 6, 6, generator=seeded(s)) for s in (0, 1))
    expected = [
        peak_signal_noise_ratio(x.numpy(), y.numpy(), data_range=1.0)
        for x, y in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(psnr(a, b), expected, rtol=1e-5)
    assert psnr(a, a).isinf().all()


@pytest.mark.parametrize(("hits", "count"), [(0, 10), (3, 10), (10, 10), (190, 200), (1, 1)])
@pytest.mark.parametrize(("confidence", "z"), [(0.95, 1.959963985), (0.9, 1.644853627)])
def test_rates_have_wilson_s_interval(hits, count, confidence, z):
    p = hits / count
    centre, half = p + z**2 / (2 * count), z * np.sqrt(p * (1 - p) / count + z**2 / (4 * count**2))
    expected = p, (centre - half) / (1 + z**2 / count), (centre + half) / (1 + z**2 / count)
    found = rate(torch.arange(count) < hits, confidence)
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_bootstrap_covers_the_mean():
    rng = np.random.default_rng(0)
    covered = []
    for trial in range(200):
        mean, low, high = mean_interval(
            torch.from_numpy(rng.exponential(2.0, 80)), seed=trial, draws=300
        )
        assert low <= mean <= high
        covered.append(low <= 2.0 <= high)
    assert 0.88 <= np.mean(covered) <= 0.99


def test_a_surer_interval_is_as_much_wider_as_the_normal_one():
    values = torch.randn(400, generator=seeded())
    sure, usual = (mean_interval(values, draws=20_000, confidence=c) for c in (0.99, 0.95))
    widths = (sure[2] - sure[1]) / (usual[2] - usual[1])
    assert widths == pytest.approx(stats.norm.ppf(0.995) / stats.norm.ppf(0.975), abs=0.05)


def test_pictures_of_one_person_count_together():
    """Eight copies of each person's value: the interval by person is that of the people alone, not
    narrower.
    """
    values = torch.randn(30, generator=seeded())
    copies, people = values.repeat_interleave(8), torch.arange(30).repeat_interleave(8)
    alone, grouped, naive = (
        mean_interval(values),
        mean_interval(copies, people),
        mean_interval(copies),
    )
    assert grouped == pytest.approx(alone, abs=1e-9)
    assert naive[2] - naive[1] < 0.6 * (grouped[2] - grouped[1])


def test_groups_of_unequal_size_are_weighted_by_their_values():
    values, people = torch.tensor([1.0, 1.0, 1.0, 5.0]), torch.tensor([7, 7, 7, 2])
    mean, low, high = mean_interval(values, people)
    assert (mean, low, high) == (2.0, 1.0, 5.0)


def test_no_picture_is_compared_with_its_own_twin():
    clean, attacked = torch.tensor([0.0, 1, 2]), torch.tensor([-5.0, 1.5, 2])
    wins = [
        (hit > x) + 0.5 * (hit == x)
        for i, hit in enumerate(attacked.tolist())
        for j, x in enumerate(clean.tolist())
        if i != j
    ]
    estimate, low, high = auroc_of_pairs(clean, attacked)
    assert estimate == pytest.approx(np.mean(wins)) and low <= estimate <= high
    with pytest.raises(ValueError, match="At least two pairs"):
        auroc_of_pairs(clean[:1], attacked[:1])


def test_auroc_is_the_share_of_ordered_pairs():
    rng = np.random.default_rng(0)
    negative, positive = rng.integers(0, 6, 40).astype(float), rng.integers(2, 9, 30).astype(float)
    wins = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    found = auroc(torch.from_numpy(negative), torch.from_numpy(positive))
    assert found == pytest.approx(np.mean(wins))
    assert auroc(torch.from_numpy(positive), torch.from_numpy(negative)) == pytest.approx(1 - found)


@pytest.mark.parametrize(
    ("negative", "positive", "value"),
    [([0, 1], [2, 3], 1), ([2, 3], [0, 1], 0), ([1, 1], [1, 1], 0.5)],
)
def test_auroc_at_its_ends(negative, positive, value):
    assert auroc(torch.tensor(negative).float(), torch.tensor(positive).float()) == value


def test_the_interval_of_auroc_covers_the_truth():
    """Two Gaussians one apart: Φ(1/√2) = 0.7602."""
    rng = np.random.default_rng(1)
    covered = []
    for trial in range(40):
        negative, positive = (torch.from_numpy(rng.normal(mean, 1, 50)) for mean in (0, 1))
        value, low, high = auroc_interval(negative, positive, seed=trial, draws=60)
        assert low <= value <= high
        covered.append(low <= 0.7602 <= high)
    assert np.mean(covered) >= 0.8


def test_the_interval_of_auroc_holds_the_estimate_also_where_the_samples_are_twins():
    """A faint attack raises each score by a little, so that all twins are ordered rightly."""
    negative = torch.from_numpy(np.random.default_rng(0).normal(0, 1, 200))
    value, low, high = auroc_interval(negative, negative + 1e-3)
    assert low < 0.5 < value < high


@pytest.mark.parametrize("function", [mean_interval, rate])
def test_values_may_carry_a_graph(function):
    """As the scores of a detector do."""
    assert function(torch.rand(5, requires_grad=True))


def test_scores_may_carry_a_graph():
    scores = torch.rand(5, requires_grad=True)
    assert auroc(scores, scores) == 0.5
    assert auroc_interval(scores, scores, draws=3)

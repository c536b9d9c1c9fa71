"""Table 1's chain, the scores of Eq. 2–6, and thresholds that keep their promise."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy
from torch import nn

from mofa_lib import Detector, RenderedFaces, load_detector, profiles
from mofa_lib.detector import (
    LinearAutoencoder,
    ReformingAutoencoder,
    build,
    calibrate,
    calibrate_together,
    flagged,
    jensen_shannon,
    kullback_leibler,
    reconstruction_error,
    reconstruction_loss,
)
from mofa_lib.identity import IdentityClassifier


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_chain_of_table_1():
    sides, channels = [7, 14, 28, 56, 112, 224], [256, 128, 128, 64, 32, 3]
    with torch.device("meta"):  # shapes without numbers
        network = ReformingAutoencoder("resnet50")
        assert network.latent.out_features == 1024
        x, found = torch.empty(2, 256, 2, 2), []
        for layer in network.decoder:
            x = layer(x)
            if isinstance(layer, nn.ConvTranspose2d):
                found.append((x.shape[1], x.shape[2], x.shape[3], layer.kernel_size[0]))
        kernels = [7, 4, 4, 4, 4, 4]
        assert found == [(c, s, s, k) for c, s, k in zip(channels, sides, kernels, strict=True)]
        kinds = [type(layer).__name__ for layer in network.decoder]
        assert kinds == ["ConvTranspose2d", "BatchNorm2d", "ReLU"] * 5 + [
            "ConvTranspose2d",
            "Sigmoid",
        ]


def test_pictures_come_out_as_pictures():
    network = ReformingAutoencoder().eval()
    drawn = network(torch.rand(2, 3, 224, 224, generator=seeded()))
    assert drawn.shape == (2, 3, 224, 224) and drawn.dtype == torch.float32
    assert 0 <= drawn.min() and drawn.max() <= 1 and drawn[0].std() > 0
    with pytest.raises(ValueError, match="lie in"):
        network(torch.full((1, 3, 224, 224), 2.0))


@pytest.mark.parametrize("name", list(profiles.PROFILES))
def test_every_profile_s_size_has_a_chain(name):
    with torch.device("meta"):
        assert build(profiles.profile(name)).size == profiles.profile(name).size


def test_eq_2_is_a_norm_and_not_its_square():
    rng = np.random.default_rng(0)
    a, b = rng.random((4, 3, 5, 5)), rng.random((4, 3, 5, 5))
    found = reconstruction_loss(torch.from_numpy(a).float(), torch.from_numpy(b).float())
    np.testing.assert_allclose(found, np.linalg.norm((a - b).reshape(4, -1), axis=1), rtol=1e-5)


def test_eq_2_of_a_perfect_picture_has_a_gradient():
    images = torch.rand(1, 3, 4, 4, generator=seeded()).requires_grad_()
    (gradient,) = torch.autograd.grad(reconstruction_loss(images, images.detach()).sum(), images)
    assert not gradient.any()


@pytest.mark.parametrize("p", [1, 2, np.inf])
def test_eq_3_is_numpy_s_norm(p):
    a, b = (torch.rand(4, 3, 5, 5, generator=seeded(s)) for s in (0, 1))
    difference = (a - b).flatten(1).numpy()
    expected = np.linalg.norm(difference, p, axis=1)
    np.testing.assert_allclose(reconstruction_error(a, b, p), expected, rtol=1e-5)
    assert not reconstruction_error(a, a, p).any()


def test_kullback_leibler_is_scipy_s():
    p, q = (torch.softmax(3 * torch.randn(20, 9, generator=seeded(s)), 1) for s in (0, 1))
    expected = entropy(p.double().numpy(), q.double().numpy(), axis=1)
    np.testing.assert_allclose(kullback_leibler(p, q), expected, rtol=1e-4)
    assert not kullback_leibler(p, p).any()


def test_kullback_leibler_with_zeros():
    """What p excludes counts nothing; what q alone excludes counts a lot, but not infinity."""
    p, q = torch.tensor([[0.0, 1.0], [0.5, 0.5]]), torch.tensor([[0.5, 0.5], [0.0, 1.0]])
    found = kullback_leibler(p, q).tolist()
    floor = 0.5 * math.log(0.5 / 1e-12) + 0.5 * math.log(0.5)
    assert found == pytest.approx([math.log(2), floor], rel=1e-5)


def test_jensen_shannon_is_scipy_s():
    p, q = (torch.softmax(3 * torch.randn(20, 9, generator=seeded(s)), 1) for s in (0, 1))
    expected = [
        jensenshannon(a, b) ** 2
        for a, b in zip(p.double().numpy(), q.double().numpy(), strict=True)
    ]
    np.testing.assert_allclose(jensen_shannon(p, q), expected, atol=1e-6)
    torch.testing.assert_close(jensen_shannon(p, q), jensen_shannon(q, p))


@pytest.mark.parametrize(
    ("p", "q", "value"),
    [
        ([1.0, 0.0], [0.0, 1.0], math.log(2)),
        ([0.3, 0.7], [0.3, 0.7], 0.0),
        ([1.0, 0.0], [0.5, 0.5], 0.2157615),
    ],
)
def test_jensen_shannon_with_zeros(p, q, value):
    assert float(jensen_shannon(torch.tensor([p]), torch.tensor([q]))) == pytest.approx(
        value, abs=1e-6
    )


def test_scores_are_norms_and_opinions(tiny_model):
    """With a reconstruction, an encoder and a classifier that can be written down."""
    images = torch.rand(3, 3, 4, 4, generator=seeded())
    drawn = (images + 0.1 * torch.randn(images.shape, generator=seeded(1))).clamp(0, 1)
    classifier = IdentityClassifier(nn.Sequential(nn.Flatten(), nn.Linear(48, 256)), 5).eval()
    given = []

    def reconstruct(x):
        given.append(x)
        return drawn

    scores = Detector(reconstruct, classifier, lambda x: x, temperature=2.0).scores(images)
    assert len(given) == 1 and given[0] is images
    difference = (images - drawn).flatten(1).numpy()
    for name, order in {"l1": 1, "l2": 2, "linf": np.inf}.items():
        np.testing.assert_allclose(
            scores[name], np.linalg.norm(difference, order, axis=1), rtol=1e-5
        )
    with torch.no_grad():
        p, q = (torch.softmax(classifier(x) / 2, 1).double().numpy() for x in (images, drawn))
        a, b = (classifier.features(x).double().numpy() for x in (images, drawn))
    js = [jensenshannon(x, y) ** 2 for x, y in zip(p, q, strict=True)]
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(scores["js"].detach(), js, atol=1e-6)
    np.testing.assert_allclose(scores["cosine"].detach(), 1 - cosine, atol=1e-5)
    assert set(scores) == {"l1", "l2", "linf", "js", "cosine"}


def test_a_perfect_reconstruction_is_not_suspicious():
    classifier = IdentityClassifier(nn.Sequential(nn.Flatten(), nn.Linear(48, 256)), 5).eval()
    scores = Detector(lambda x: x, classifier, lambda x: x).scores(torch.rand(2, 3, 4, 4))
    assert all(value.abs().max() < 1e-5 for value in scores.values())


# Thresholds


@pytest.mark.parametrize(
    ("count", "alpha", "rank"), [(19, 0.05, 19), (99, 0.05, 95), (200, 0.05, 191), (9, 0.5, 5)]
)
def test_the_threshold_is_the_conformal_rank(count, alpha, rank):
    scores = torch.randperm(count, generator=seeded()).float() + 1
    assert calibrate(scores, alpha) == rank


def test_the_rank_does_not_suffer_from_rounding():
    """⌈(n+1)(1−α)⌉ in exact arithmetic, for every n and every whole percentage."""
    for percent in (1, 2, 5, 10, 15, 20, 45):
        alpha = Fraction(percent, 100)
        for count in range(1, 400):
            rank = math.ceil((count + 1) * (1 - alpha))
            if rank <= count:
                found = calibrate(torch.arange(1, count + 1).float(), percent / 100)
                assert found == rank, (count, percent)


@pytest.mark.parametrize(("count", "alpha"), [(40, 0.05), (40, 0.2), (19, 0.05)])
def test_at_most_the_promised_share_of_new_faces_is_flagged(count, alpha):
    """Over many calibrations: the realised rate is 1 − rank/(n+1), just under α."""
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(2000):
        threshold = calibrate(torch.from_numpy(rng.exponential(size=count)), alpha)
        rates.append(math.exp(-threshold))  # what a new score exceeds it with
    rank = math.ceil((count + 1) * (1 - alpha))
    assert np.mean(rates) == pytest.approx(
        1 - rank / (count + 1), abs=4 * np.std(rates) / 2000**0.5
    )
    assert np.mean(rates) <= alpha * 1.05


@pytest.mark.parametrize(("count", "alpha", "least"), [(18, 0.05, 19), (98, 0.01, 99), (0, 0.5, 1)])
def test_too_few_scores_are_refused(count, alpha, least):
    with pytest.raises(
        ValueError, match=f"{count} calibration scores cannot fix .* take at least {least}"
    ):
        calibrate(torch.rand(count), alpha)
    calibrate(torch.rand(least), alpha)


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_together_scores_raise_as_few_alarms_as_one(alpha):
    """Against a trial of all ranks, and on new pictures, where each alone would raise too many."""
    benign = torch.randn(399, 3, generator=seeded()) @ torch.tensor(
        [[1.0, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.3, 2.0]]
    )
    scores = dict(zip("abc", benign.exp().T, strict=True))
    found = calibrate_together(scores, alpha)

    def alarms(thresholds: dict, of: dict) -> int:
        return int(torch.stack([of[name] > thresholds[name] for name in of]).any(0).sum())

    allowed = math.floor(400 * alpha) - 1  # as many exceed the ⌈400(1−α)⌉-th of 399
    for rank in range(399):
        tried = {name: float(x.sort().values[rank]) for name, x in scores.items()}
        if alarms(tried, scores) <= allowed:
            break
    assert found == tried

    new = torch.randn(20_000, 3, generator=seeded()) @ torch.tensor(
        [[1.0, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.3, 2.0]]
    )
    new = dict(zip("abc", new.exp().T, strict=True))
    assert alarms(found, new) / 20_000 == pytest.approx(alpha, abs=0.02)
    single = {name: calibrate(x, alpha) for name, x in scores.items()}
    assert alarms(single, new) / 20_000 > 1.5 * alpha
    assert calibrate_together({"a": scores["a"]}, alpha) == {"a": single["a"]}


def test_flags_are_scores_above_their_thresholds():
    scores = {"l1": torch.tensor([1.0, 2.0, 3.0]), "js": torch.tensor([0.0, 0.5, 0.1])}
    found = flagged(scores, {"l1": 2.0, "js": 0.1})
    assert {name: value.tolist() for name, value in found.items()} == {
        "l1": [False, False, True],
        "js": [False, True, False],
    }


# On weights


@pytest.mark.parametrize(
    ("autoencoder", "what"), [("table1", "detector"), ("linear", "linear_autoencoder")]
)
def test_missing_weights_name_the_command(cache, monkeypatch, autoencoder, what):
    monkeypatch.setitem(
        profiles.PROFILES, "gpu", replace(profiles.PROFILES["cpu"], name="gpu", weights="gpu")
    )
    with pytest.raises(FileNotFoundError, match=f"--what {what} --profile gpu"):
        load_detector("gpu", autoencoder)


def test_other_autoencoders_are_refused():
    with pytest.raises(ValueError, match="no autoencoder 'deep': choose table1 or linear"):
        load_detector("cpu", "deep")


@pytest.mark.parametrize(("autoencoder", "left"), [("table1", 0.4), ("linear", 0.06)])
def test_the_shipped_detectors_draw_faces_that_they_never_saw(autoencoder, left):
    detector = load_detector("cpu", autoencoder)
    images = RenderedFaces("test", 8).batch(slice(0, 8)).to(profiles.device())
    with torch.no_grad():
        scores = detector.scores(images)
        drawn = detector.reconstruct(images)
    assert not detector.reconstruct.training
    average = images.mean(0, keepdim=True)
    assert (drawn - images).square().mean() < left * (average - images).square().mean()
    for name, value in scores.items():
        assert value.shape == (8,) and value.isfinite().all() and (value > 0).all(), name
    assert scores["js"].max() <= math.log(2)


def test_the_profile_recommends_an_autoencoder():
    assert isinstance(load_detector("cpu").reconstruct, LinearAutoencoder)

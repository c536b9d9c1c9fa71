"""The attacker who knows the detector, where the best that it can do is known."""

import pytest
import torch

from mofa_lib import LatentAttack
from mofa_lib.attack.adaptive import AdaptiveAttack, _Weights
from mofa_lib.attack.gradient_sign import quantize


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def pictures():
    return 0.3 + 0.4 * torch.rand(2, 6, 3, 5, 5, generator=seeded(0))


@pytest.fixture(scope="module")
def encode():
    """A small random network."""
    first = torch.randn(75, 40, generator=seeded(2))
    second = torch.randn(40, 7, generator=seeded(3))
    return lambda images: torch.sin(images.flatten(1) @ first) @ second


def distance(a, b):
    return (a - b).abs().sum(1)


def brightness(images, code):
    """How far a picture is from grey: what an attack without knowledge changes freely."""
    return {"brightness": (images.mean((1, 2, 3)) - 0.5).abs() + 0.001}


def roughness(images, code):
    return {"rough": images.diff(dim=3).abs().mean((1, 2, 3))}


def test_a_detector_that_flags_nothing_changes_nothing(pictures, encode):
    originals, targets = pictures
    exact = {"steps": 20, "precision": "float32"}  # bfloat16 would choose another iterate
    blind = LatentAttack(encode, distance, 0.05, **exact)(originals, targets)
    limits = {"brightness": 10.0}
    free = AdaptiveAttack(encode, distance, brightness, limits, 0.05, searches=1, **exact)
    found = free(originals, targets)
    torch.testing.assert_close(found.saved_distance, blind.saved_distance, rtol=0.01, atol=0)
    assert (found.course[-1] <= blind.saved_distance + 1e-5).all()
    torch.testing.assert_close(found.course[-1], found.saved_distance)


def test_what_is_flagged_blindly_passes(pictures, encode):
    originals, targets = pictures
    limit = 1.02 * float(roughness(originals, None)["rough"].max())
    exact = {"steps": 40, "precision": "float32"}  # bfloat16 rounds otherwise on other processors
    blind = LatentAttack(encode, distance, 0.1, **exact)(originals, targets)
    assert (roughness(blind.images, None)["rough"] > limit).any()

    attack = AdaptiveAttack(encode, distance, roughness, {"rough": limit}, 0.1, **exact)
    found = attack(originals, targets)
    assert (roughness(found.images, None)["rough"] <= limit).all()
    assert ((found.images - originals).abs() <= 0.1 + 1e-6).all()
    before = distance(encode(originals), encode(targets))
    assert (found.distance < 0.8 * before).all()
    assert (found.distance >= 0.95 * blind.distance).all()


def test_the_best_that_passes_is_found():
    """The code is red, the score is the mean: red goes up by ε, what it adds the others lose."""
    originals = torch.full((1, 3, 1, 1), 0.5)

    def red(images):
        return images[:, :1, 0, 0]

    def mean(images, code):
        return {"mean": images.mean((1, 2, 3))}

    targets = torch.tensor([[0.9]])
    attack = AdaptiveAttack(
        red, distance, mean, {"mean": 0.51}, 0.2, steps=200, searches=6, slack=0.0
    )
    found = attack(originals, targets)
    assert found.images[0, 0, 0, 0] == pytest.approx(0.7, abs=2e-3)
    assert found.images.mean() <= 0.51

    # Where the others cannot make up for it, the best is found on a grid.
    def middle(images, code):
        return {"middle": images[:, 0, 0, 0] + 0.2 * images[:, 1, 0, 0]}

    grid = torch.linspace(0.3, 0.7, 401)
    reds, greens = torch.meshgrid(grid, grid, indexing="ij")
    best = reds[reds + 0.2 * greens <= 0.6].max()
    attack = AdaptiveAttack(
        red, distance, middle, {"middle": 0.6}, 0.2, steps=200, searches=6, slack=0.0
    )
    assert attack(originals, targets).images[0, 0, 0, 0] == pytest.approx(float(best), abs=5e-3)


def test_what_passes_is_the_file_that_is_kept():
    """Red 153.8 would pass, but is saved as 154, and is flagged."""
    originals = torch.full((1, 3, 1, 1), 140 / 255)

    def red(images):
        return images[:, :1, 0, 0]

    def redness(images, code):
        return {"red": images[:, 0, 0, 0]}

    attack = AdaptiveAttack(
        red, distance, redness, {"red": 153.9 / 255}, 0.2, 200, rate=0.01, searches=6, slack=0.0
    )
    found = attack(originals, torch.tensor([[0.9]]))
    assert 255 * quantize(found.images)[0, 0, 0, 0] == pytest.approx(153, abs=1e-3)


def test_what_passes_is_judged_without_bfloat16(pictures, encode):
    """In bfloat16 this score sees nothing; what is kept has to pass it nevertheless."""
    originals, targets = pictures

    def score(images, code):
        rough = roughness(images, code)["rough"]
        return {"rough": 0 * rough if torch.is_autocast_enabled("cpu") else rough}

    limit = 1.01 * float(roughness(originals, None)["rough"].max())
    attack = AdaptiveAttack(
        encode, distance, score, {"rough": limit}, 0.1, 40, slack=0.0, precision="bfloat16"
    )
    found = attack(originals, targets)
    assert (roughness(quantize(found.images), None)["rough"] <= limit).all()
    assert (found.distance < distance(encode(originals), encode(targets))).all()


def test_a_search_can_begin_where_another_has_ended(pictures, encode):
    originals, targets = pictures
    blind = LatentAttack(encode, distance, 0.05, 20, batch=4)(originals, targets)
    for attack in (
        LatentAttack(encode, distance, 0.05, 0, batch=4),
        AdaptiveAttack(encode, distance, brightness, {"brightness": 10.0}, 0.05, 0, batch=4),
    ):
        found = attack(originals, targets, begin=blind.images)
        torch.testing.assert_close(found.images, blind.images, rtol=0, atol=1e-6)
    more = LatentAttack(encode, distance, 0.05, 5)(originals, targets, begin=blind.images)
    assert (more.distance <= blind.distance + 1e-4).all()
    assert ((more.images - originals).abs() <= 0.05 + 1e-6).all()
    with pytest.raises(ValueError, match="begins at one of its size"):
        attack(originals, targets, begin=blind.images[:1])


def test_all_scores_are_to_be_passed(pictures, encode):
    originals, targets = pictures

    def both(images, code):
        return brightness(images, code) | roughness(images, code)

    start = both(originals, None)
    limits = {name: 1.05 * float(score.max()) for name, score in start.items()}
    found = AdaptiveAttack(encode, distance, both, limits, 0.1, steps=40)(originals, targets)
    for name, score in both(found.images, None).items():
        assert (score <= limits[name]).all()


def test_where_nothing_passes_the_least_flagged_is_kept():
    originals = torch.full((2, 3, 2, 2), 0.5)

    def mean(images, code):
        return {"mean": images.mean((1, 2, 3))}

    attack = AdaptiveAttack(
        lambda images: images[:, 0, 0, :1], distance, mean, {"mean": 0.1}, 0.2, steps=100
    )
    found = attack(originals, torch.ones(2, 1))
    assert found.images.mean() == pytest.approx(0.3, abs=1e-3)


def test_among_the_flagged_a_hundredth_of_the_threshold_decides():
    """Nothing passes with the margin, and little without: what does is to be found."""
    grey = torch.full((1, 3, 4, 4), 0.5)

    def close_by(images, code):
        return {"score": 0.99 + (images.mean((1, 2, 3)) - 0.45).abs()}

    attack = AdaptiveAttack(
        lambda images: images.flatten(1),
        distance,
        close_by,
        {"score": 1.0},
        0.1,
        precision="float32",
    )
    found = attack(grey, grey + 0.1)
    assert 0.98 < close_by(quantize(found.images), None)["score"].item() < 0.993


def test_no_epsilon_no_perturbation(pictures, encode):
    originals, targets = pictures
    attack = AdaptiveAttack(encode, distance, roughness, {"rough": 1.0}, 0.0, steps=3)
    assert torch.equal(attack(originals, targets).images, originals)


def test_each_picture_has_a_weight_of_its_own():
    enough = torch.tensor([3e-4, 0.07, 2.0, 900.0])  # what a search would need
    c = _Weights(torch.full((4,), 0.1))
    for _ in range(30):
        c.search(c.now < enough)
    torch.testing.assert_close(c.now, enough, rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"thresholds": {}}, "above 0"),
        ({"thresholds": {"rough": 0.0}}, "above 0"),
        ({"weight": 0.0}, "c is positive"),
        ({"slack": 1.0}, "slack"),
        ({"searches": 0}, "searches"),
    ],
)
def test_wrong_settings_are_refused(encode, wrong, message):
    settings = {"thresholds": {"rough": 1.0}} | wrong
    with pytest.raises(ValueError, match=message):
        AdaptiveAttack(encode, distance, roughness, **settings)

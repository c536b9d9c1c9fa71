"""Eq. 1, Algorithm 1 and FGSM: closed forms, loops, and the sanity checks that every attack must
pass.
"""

import copy
import warnings

import encoders
import numpy as np
import pytest
import torch
from encoders import l1, l2, random_images, seeded

from mofa_lib import (
    CodeDistance,
    FaceCode,
    LatentAttack,
    MoFA,
    RenderedFaces,
    fgsm,
    load_pretrained,
    pgd,
)
from mofa_lib.attack import WEIGHTS, quantize, random_signs
from mofa_lib.morphable import MorphableModel
from mofa_lib.profiles import has_bfloat16

only_where_bfloat16_is_fast = pytest.mark.skipif(
    not has_bfloat16(), reason="this CPU emulates bfloat16, which takes minutes"
)

READINGS = [
    ({"epsilon": 0.05}, 0.05),
    ({"epsilon": 0.05, "reading": "literal", "cap": 0.4}, 0.02),
    ({"epsilon": 0.5, "reading": "clip_after", "cap": 0.03}, 0.03),
]


@pytest.fixture(autouse=True)
def processor(monkeypatch):
    """What torch knows of the CPU: nothing, so that the same tests run everywhere."""
    can = {}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: can)
    return can


@pytest.fixture
def linear():
    return encoders.linear


@pytest.fixture
def curved():
    return encoders.curved


def tensors(result):
    return {name: value for name, value in vars(result).items() if name != "precision"}


# Eq. 1


@pytest.mark.parametrize("sigma", [True, False])
@pytest.mark.parametrize("weights", [WEIGHTS, {"translation": 0.05, "shape": 2.0}])
def test_eq_1_is_a_sum_over_groups_and_coefficients(tiny_model, weights, sigma):
    a, b = (
        FaceCode.from_vector(torch.randn(3, 42, generator=seeded(s)), tiny_model) for s in (0, 1)
    )
    found = CodeDistance(tiny_model, weights, sigma)(a, b)
    for face in range(3):
        expected = 0.0
        for group, weight in weights.items():
            x, y = getattr(a, group)[face].tolist(), getattr(b, group)[face].tolist()
            deviation = [1.0] * len(x)
            if sigma and group in ("shape", "expression", "appearance"):
                basis = getattr(tiny_model, f"{group}_basis")
                deviation = [float(basis[..., i].square().sum().sqrt()) for i in range(len(x))]
            expected += (
                weight
                * sum(s * abs(p - q) for s, p, q in zip(deviation, x, y, strict=True))
                / len(x)
            )
        assert float(found[face]) == pytest.approx(expected, rel=1e-4)


def test_eq_1_by_group(tiny_model):
    a, b = FaceCode.mean(tiny_model, 2), FaceCode.from_vector(torch.ones(2, 42), tiny_model)
    distance = CodeDistance(tiny_model)
    assert set(distance.terms(a, b)) == set(WEIGHTS)
    torch.testing.assert_close(sum(distance.terms(a, b).values()), distance(a, b))
    assert distance.terms(a, b)["illumination"].tolist() == pytest.approx([1.5, 1.5])
    assert not distance(b, b).any()


def test_eq_1_skips_groups_that_the_model_lacks(tiny_tensors):
    stone = MorphableModel({**tiny_tensors, "expression_basis": torch.zeros(300, 3, 0)}, "stone")
    a, b = FaceCode.mean(stone), FaceCode.from_vector(torch.ones(1, 40), stone)
    assert "expression" not in CodeDistance(stone).terms(a, b)
    assert torch.isfinite(CodeDistance(stone)(a, b)).all()


def test_eq_1_knows_its_groups(tiny_model):
    with pytest.raises(
        ValueError, match="No group of the code is called 'nose': choose from shape, expression"
    ):
        CodeDistance(tiny_model, {"nose": 1.0})
    for weights in ({}, {"shape": -1.0}):
        with pytest.raises(ValueError, match="needs weights, none of them negative"):
            CodeDistance(tiny_model, weights)


# Algorithm 1: what must hold for every attack


@pytest.mark.parametrize(("reading", "bound"), READINGS)
def test_the_perturbation_keeps_and_uses_its_bound(linear, reading, bound):
    images, targets = random_images(), random_images(seed=9, low=0.0, high=1.0)
    attack = LatentAttack(linear, l1, steps=60, **reading)
    result = attack(images, targets)
    assert attack.bound == pytest.approx(bound)
    assert (result.images - images).abs().max() <= bound + 1e-6
    assert result.perturbation.equal(result.images - images)
    assert result.perturbation.abs().max() > 0.9 * bound


@pytest.mark.parametrize("targeted", [True, False])
@pytest.mark.parametrize(("reading", "bound"), READINGS)
def test_no_epsilon_no_perturbation(linear, reading, bound, targeted):
    images, targets = random_images(), random_images(seed=9)
    attack = LatentAttack(linear, l1, **{**reading, "epsilon": 0.0})
    result = attack(images, targets) if targeted else attack(images)
    assert result.images.equal(images) and not result.perturbation.any() and attack.bound == 0
    torch.testing.assert_close(
        result.distance, l1(linear(images), linear(targets if targeted else images))
    )


def test_attacked_pictures_are_pictures(linear):
    images = random_images(low=0.0, high=1.0).round()
    result = LatentAttack(linear, l1, epsilon=0.3)(images, random_images(seed=9))
    assert result.images.min() >= 0 and result.images.max() <= 1


def test_more_steps_are_never_worse(curved):
    """A shorter attack is the beginning of a longer one."""
    images, targets = random_images(), random_images(seed=9)
    longest = LatentAttack(curved, l2, epsilon=0.1, steps=40)(images, targets)
    assert longest.course.shape == (41, 6) and (longest.course.diff(dim=0) <= 0).all()
    for steps in (0, 1, 5, 20):
        shorter = LatentAttack(curved, l2, epsilon=0.1, steps=steps)(images, targets)
        assert shorter.course.equal(longest.course[: steps + 1])


def test_the_best_iterate_is_returned(curved):
    """With a rate that overshoots, so that the last iterate is not the best."""
    images, targets = random_images(), random_images(seed=9)
    result = LatentAttack(curved, l2, epsilon=0.2, steps=30, rate=1.0)(images, targets)
    torch.testing.assert_close(l2(curved(result.images), curved(targets)), result.distance)
    torch.testing.assert_close(result.distance, result.course[-1])
    assert (
        result.course[-1] == result.course[-2]
    ).any()  # there is a picture whose last iterate is not its best


def test_the_distance_does_not_count_the_penalty(linear):
    images, targets = random_images(), random_images(seed=9)
    result = LatentAttack(linear, l1, penalty=0.5)(images, targets)
    torch.testing.assert_close(l1(linear(result.images), linear(targets)), result.distance)


def test_a_penalty_makes_perturbations_smaller(linear):
    images, targets = random_images(), random_images(seed=9)
    sizes = [
        float(LatentAttack(linear, l1, penalty=penalty)(images, targets).perturbation.abs().mean())
        for penalty in (0.0, 1.0, 1000.0)
    ]
    assert sizes[0] > sizes[1] > sizes[2] == 0


def test_many_steps_beat_one(curved):
    images, targets = random_images(), random_images(seed=9)
    goal = curved(targets)
    one = l2(curved(fgsm(lambda x: -l2(curved(x), goal), images, 0.1)), goal)
    many = LatentAttack(curved, l2, epsilon=0.1)(images, targets).distance
    assert (many <= one).all() and many.mean() < 0.5 * one.mean()


def test_noise_of_the_same_norm_does_nothing(linear):
    images, targets = random_images(), random_images(seed=9)
    before = l1(linear(images), linear(targets))
    gained = before - LatentAttack(linear, l1, epsilon=0.05)(images, targets).distance
    for seed in range(5):
        noise = 0.05 * torch.randn(images.shape, generator=seeded(seed)).sign()
        assert (before - l1(linear(images + noise), linear(targets))).mean() < 0.2 * gained.mean()


def test_a_planted_adversarial_example_is_found(linear):
    images = random_images()
    planted = images + 0.05 * torch.randn(images.shape, generator=seeded(4)).sign()
    before = l1(linear(images), linear(planted))
    found = LatentAttack(linear, l1, epsilon=0.05, steps=200)(images, planted).distance
    assert (found < 0.1 * before).all()


def test_success_grows_with_epsilon_up_to_certainty(curved):
    images, targets = random_images(count=12), random_images(count=12, seed=9)
    before = l2(curved(images), curved(targets))
    success = []
    for epsilon in (0.0, 0.02, 0.05, 0.2, 1.0):
        after = LatentAttack(curved, l2, epsilon=epsilon, steps=200, rate=0.02)(
            images, targets
        ).distance
        success.append(float((after < 0.1 * before).float().mean()))
    assert success == sorted(success) and success[0] == 0 and success[-1] == 1


@pytest.mark.parametrize(("reading", "bound"), READINGS)
def test_algorithm_1_step_by_step(linear, reading, bound):
    """The paper's variable d, with Adam on d and projection after each step, written out."""
    images, targets = random_images(), random_images(seed=9)
    goal, epsilon = linear(targets), reading["epsilon"]
    name, cap = reading.get("reading", "unit_cap"), reading.get("cap", 1.0)
    limit = cap / epsilon if name == "clip_after" else cap
    d = torch.zeros_like(images, requires_grad=True)
    adam = torch.optim.Adam([d], lr=0.1 * cap if name == "literal" else 0.1, eps=1e-12)
    best = l1(linear(images), goal)
    for _ in range(8):
        d.grad = torch.autograd.grad(l1(linear(images + epsilon * d), goal).sum(), d)[0]
        adam.step()
        d.data.clamp_(-limit, limit)
        best = torch.minimum(best, l1(linear(images + epsilon * d), goal))
    found = LatentAttack(linear, l1, steps=8, **reading)(images, targets).distance
    torch.testing.assert_close(found, best.detach(), rtol=1e-3, atol=1e-4)


def test_a_black_pixel_is_not_lost():
    """First the gradient pushes pixel 0 below black; once pixel 1 has moved, it should rise. It
    must be able to.
    """

    def code(images):
        x = images.flatten(1)
        return (x[:, 0] * (0.05 - x[:, 1]) + (0.2 - x[:, 1])).unsqueeze(1)

    images = torch.zeros(1, 3, 1, 1)
    result = LatentAttack(lambda x: code(x), lambda a, b: a[:, 0], epsilon=0.2, steps=100)(
        images, images
    )
    assert result.images.flatten()[0] > 0.15


def test_nothing_else_is_changed(curved):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(75, 4))
    images, targets = random_images(), random_images(seed=9)
    kept = images.clone(), targets.clone(), copy.deepcopy(network.state_dict())
    result = LatentAttack(network, l1, steps=3)(images, targets)
    assert images.equal(kept[0]) and targets.equal(kept[1])
    assert all(p.grad is None for p in network.parameters())
    assert all(v.equal(kept[2][k]) for k, v in network.state_dict().items())
    assert not any(
        t.requires_grad
        for t in (result.images, result.perturbation, result.distance, result.course)
    )


def test_the_same_attack_gives_the_same_pictures(curved):
    images, targets = random_images(), random_images(seed=9)
    attack = LatentAttack(curved, l2, steps=5)
    assert attack(images, targets).images.equal(attack(images, targets).images)
    torch.testing.assert_close(
        attack(images[2:3], targets[2:3]).images[0], attack(images, targets).images[2]
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"reading": "loose"}, "no reading 'loose': choose one of unit_cap, literal, clip_after"),
        ({"reading": "literal"}, 'The readings "literal" and "clip_after" need a cap'),
        ({"cap": 0.02}, '"unit_cap" has none'),
        ({"epsilon": -0.1}, "must not be negative"),
        ({"penalty": -1.0}, "Penalty and goal must not be negative"),
        ({"penalty": float("nan")}, "Penalty and goal must not be negative"),
        ({"goal": float("nan")}, "Penalty and goal must not be negative"),
        ({"steps": -1}, "steps ≥ 0 is needed, got -1"),
        ({"rate": 0.0}, "rate and cap positive"),
        ({"goal": 0.1, "penalty": 0.1}, "cannot be combined with a penalty"),
        ({"batch": 0}, "batch ≥ 1 is needed, got 0"),
        ({"reading": "clip_after", "cap": 0.0}, "rate and cap positive"),
        ({"precision": "half"}, "no precision 'half': choose one of auto, float32, bfloat16"),
        ({"goal": 0.1, "precision": "bfloat16"}, "bfloat16 is too coarse for the answer"),
    ],
)
def test_wrong_settings_are_refused(linear, wrong, message):
    with pytest.raises(ValueError, match=message):
        LatentAttack(linear, l1, **wrong)


def test_many_pictures_are_attacked_in_batches(curved):
    seen = []

    def encode(images):
        seen.append(len(images))
        return curved(images)

    images, targets = random_images(7), random_images(7, seed=9)
    found = LatentAttack(encode, l2, steps=4, batch=3)(images, targets)
    assert set(seen) == {3, 1} and found.course.shape == (5, 7)
    whole = LatentAttack(curved, l2, steps=4)(images, targets)
    away = [LatentAttack(curved, l2, steps=4, batch=batch)(images) for batch in (3, 50)]
    for one, other in ((found, whole), away):
        for name, value in tensors(one).items():
            torch.testing.assert_close(value, getattr(other, name), rtol=1e-4, atol=1e-5)


def test_an_attack_can_be_taken_step_by_step(curved):
    """Each iterate is the whole attack with as many steps, and no later step changes it."""
    images, targets = random_images(), random_images(seed=9)
    exact = {"precision": "float32"}
    for goals in (targets, None):
        iterates = list(LatentAttack(curved, l2, steps=4, **exact).iterate(images, goals))
        assert len(iterates) == 5
        for steps, found in enumerate(iterates):
            whole = LatentAttack(curved, l2, steps=steps, **exact)(images, goals)
            for name in ("images", "perturbation", "distance", "saved_distance"):
                torch.testing.assert_close(getattr(found, name), getattr(whole, name))
            torch.testing.assert_close(found.course[: steps + 1], whole.course)
            torch.testing.assert_close(found.course[steps:], found.course[-1:].expand(5 - steps, 6))


def test_no_more_steps_are_computed_than_taken(curved):
    asked = []
    attack = LatentAttack(lambda x: asked.append(len(x)) or curved(x), l2, steps=1000)
    iterates = attack.iterate(random_images(), random_images(seed=9))
    next(iterates), next(iterates)
    assert len(asked) == 1 + 2 * 3, "the target, and both iterates, the best of them and as saved"


def test_a_first_iterate_refuses_what_the_attack_refuses(curved):
    iterates = LatentAttack(curved, l2).iterate(random_images(), random_images(3))
    with pytest.raises(ValueError, match="Each picture needs its target"):
        next(iterates)


def test_no_pictures_no_attack(curved):
    nobody = random_images()[:0]
    for result in (
        LatentAttack(curved, l2, steps=2)(nobody, nobody),
        LatentAttack(curved, l2, steps=2)(nobody),
    ):
        assert result.images.shape == nobody.shape and result.course.shape == (3, 0)


def test_targets_may_be_codes(curved, tiny_tensors):
    images, targets = random_images(), random_images(seed=9)
    attack = LatentAttack(curved, l2, steps=4)
    assert attack(images, curved(targets)).images.equal(attack(images, targets).images)
    mofa = MoFA(MorphableModel(tiny_tensors, "tiny"), size=32).eval().requires_grad_(False)
    torch.nn.init.normal_(mofa.head.weight, std=0.1, generator=seeded(3))
    images, targets = torch.rand(2, 3, 2, 3, 32, 32, generator=seeded(4)).flatten(1, 2)[:, :2]
    attack = LatentAttack(mofa.encode, CodeDistance(mofa.model), steps=2, batch=1)
    torch.testing.assert_close(
        attack(images, mofa.encode(targets)).images, attack(images, targets).images
    )


def test_without_a_target_the_code_moves_away(curved):
    """As far as a search over random corners of the box finds, and farther; at the picture there is
    no gradient.
    """
    images = random_images()
    own = curved(images)
    assert pgd(lambda x: l1(curved(x), own), images, 0.05).equal(images)
    attack = LatentAttack(curved, l1, epsilon=0.05, steps=60)
    result = attack(images)
    assert (result.perturbation.abs() <= 0.05 + 1e-6).all()
    torch.testing.assert_close(l1(curved(result.images), curved(images)), result.distance)
    assert (result.course.diff(dim=0) <= 0).all() and attack(images).images.equal(result.images)
    corners = [
        images + 0.05 * torch.randn(images.shape, generator=seeded(k)).sign() for k in range(50)
    ]
    farthest = torch.stack([l1(curved(x), curved(images)) for x in corners]).amax(0)
    assert (result.distance > farthest).all()


@pytest.mark.parametrize("targeted", [True, False])
def test_an_attack_ends_when_it_is_content(curved, targeted):
    """Each picture keeps the first iterate that is good enough, whatever the others still need."""
    images, targets = random_images(), random_images(seed=9) if targeted else None
    longest = LatentAttack(curved, l2, epsilon=0.1, steps=50)(images, targets)
    distances = longest.course.abs()
    goal = float(distances[10].median())
    result = LatentAttack(curved, l2, epsilon=0.1, steps=50, goal=goal)(images, targets)
    there = distances <= goal if targeted else distances >= goal
    first = torch.where(there.any(0), there.int().argmax(0), 50)
    torch.testing.assert_close(result.distance, distances.gather(0, first[None])[0])
    assert result.course.shape == (51, 6)
    calls = []
    easy = LatentAttack(
        lambda x: (calls.append(1), curved(x))[1],
        l2,
        epsilon=0.1,
        steps=50,
        goal=1e6 if targeted else 0,
    )
    easy(images, targets)
    assert len(calls) < 5


def test_saved_pictures_are_judged_again(curved):
    images, targets = random_images(), random_images(seed=9)
    result = LatentAttack(curved, l2, epsilon=0.05)(images, targets)
    pixels = (255 * result.images.numpy()).round().astype(np.uint8)
    saved = l2(curved(torch.from_numpy(pixels).float() / 255), curved(targets))
    torch.testing.assert_close(result.saved_distance, saved)
    assert (result.saved_distance != result.distance).all()


def test_each_picture_needs_its_target(unchecked, linear):
    with pytest.raises(
        ValueError, match=r"Each picture needs its target, got \(6, 3, 5, 5\) and \(2, 3, 5, 5\)"
    ):
        LatentAttack(linear, l1)(random_images(), random_images(2))
    with pytest.raises(ValueError, match=r"got \(6, 3, 5, 5\) and 2 codes"):
        LatentAttack(linear, l1)(random_images(), linear(random_images(2)))


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (
            torch.rand(3, 5, 5),
            ValueError,
            r"Images must have shape \(B, 3, H, W\), got \(3, 5, 5\)",
        ),
        (
            torch.rand(2, 1, 5, 5),
            ValueError,
            r"Images must have shape \(B, 3, H, W\), got \(2, 1, 5, 5\)",
        ),
        (
            torch.rand(2, 3, 5, 5) - 0.5,
            ValueError,
            r"Images must lie in \[0, 1\], got values from -0",
        ),
        (
            torch.full((2, 3, 5, 5), torch.nan),
            ValueError,
            r"Images must lie in \[0, 1\], got values from nan",
        ),
        (
            torch.zeros(2, 3, 5, 5, dtype=torch.uint8),
            TypeError,
            "got torch.uint8; divide 8-bit values by 255",
        ),
    ],
)
def test_what_is_no_picture_is_refused(unchecked, linear, images, error, message):
    for attack in (LatentAttack(linear, l1), lambda x: pgd(lambda y: y.sum((1, 2, 3)), x, 0.1)):
        with pytest.raises(error, match=message):
            attack(images)


def test_an_encoder_that_rounds_is_noticed_once(linear):
    """A code that does not change a little has no gradient: nothing would move, and nobody know."""
    images, targets = random_images(7), random_images(7, seed=9)
    attack = LatentAttack(lambda x: linear(x).round(), l1, steps=3, batch=3)
    with pytest.warns(UserWarning) as said:
        result = attack(images, targets)
        attack(images, targets)
    assert len(said) == 1 and "Every gradient of the attack is zero" in str(said[0].message)
    assert not result.perturbation.any()


def test_an_attack_that_moves_or_must_not_move_says_nothing(linear):
    images, targets = random_images(), random_images(seed=9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LatentAttack(lambda x: linear(x).round(), l1, epsilon=0.0, steps=3)(images, targets)
        LatentAttack(linear, l1, steps=3)(images, targets)
        LatentAttack(linear, l1, steps=3)(images)
        LatentAttack(linear, l1, steps=3)(images[:0], targets[:0])


# The precision of the search


@pytest.fixture(scope="module")
def network():
    """Two convolutions with batch norm into 7 numbers, in eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(11)
        layers = [
            torch.nn.Conv2d(3, 16, 3),
            torch.nn.BatchNorm2d(16),
            torch.nn.ReLU(),
            torch.nn.Conv2d(16, 16, 3),
            torch.nn.Flatten(),
            torch.nn.Linear(16, 7),
        ]
        network = torch.nn.Sequential(*layers)
        network(random_images(64))  # batch norm learns its statistics
    return network.eval().requires_grad_(False)


def test_the_processor_chooses_the_precision(network, processor):
    images, targets = random_images(), random_images(seed=9)
    attack = LatentAttack(network, l1, steps=5)
    plain = LatentAttack(network, l1, steps=5, precision="float32")(images, targets)
    lowered = LatentAttack(network, l1, steps=5, precision="bfloat16")(images, targets)
    assert (plain.precision, lowered.precision) == ("float32", "bfloat16")
    assert not lowered.images.equal(plain.images)
    for can, expected in ((False, plain), (True, lowered)):
        processor["avx512_bf16"] = can
        for _ in range(2):
            found = attack(images, targets)
            assert found.precision == expected.precision
            assert all(v.equal(getattr(expected, k)) for k, v in tensors(found).items())


def test_auto_leaves_goals_and_other_types_alone(network, processor):
    processor["avx512_bf16"] = True
    images, targets = random_images(), random_images(seed=9)
    assert LatentAttack(network, l1, steps=2, goal=0.1)(images, targets).precision == "float32"
    double = copy.deepcopy(network).double()
    found = LatentAttack(double, l1, steps=2)(images.double(), targets.double())
    assert found.precision == "float64" and found.images.dtype == torch.float64


@pytest.mark.parametrize("targeted", [True, False])
def test_only_the_search_is_in_bfloat16(targeted):
    """The network computes in it, forward and backward; targets, distances, gradients and what is
    found do not.
    """
    layer = torch.nn.Linear(75, 7).requires_grad_(False)
    inside, codes, gradients = [], [], []
    layer.register_forward_hook(lambda _, __, code: inside.append(code.dtype))

    def encode(images):
        if images.requires_grad:
            images.register_hook(lambda gradient: gradients.append(gradient.dtype))
        return layer(images.flatten(1))

    def distance(a, b):
        codes.extend([a.dtype, b.dtype])
        return l1(a, b)

    images, targets = random_images(), random_images(seed=9)
    result = LatentAttack(encode, distance, steps=3, precision="bfloat16")(
        images, targets if targeted else None
    )
    low, high = torch.bfloat16, torch.float32
    assert inside == [high, low, low, low, low, high, high]
    assert set(codes) == {high} and gradients == [high] * 3
    assert {value.dtype for value in tensors(result).values()} == {high}


def test_face_codes_come_back_in_float32(tiny_model):
    layer = torch.nn.Linear(75, 42).requires_grad_(False)
    types = set()

    def distance(a, b):
        types.update(part.dtype for code in (a, b) for part in code.parts.values())
        return CodeDistance(tiny_model)(a, b)

    def encode(images):
        return FaceCode.from_vector(layer(images.flatten(1)), tiny_model)

    LatentAttack(encode, distance, steps=1, precision="bfloat16")(random_images(), random_images())
    assert types == {torch.float32}


@pytest.mark.parametrize(("reading", "bound"), READINGS)
def test_bfloat16_finds_as_much_and_keeps_the_bound(network, reading, bound):
    images, targets = random_images(20, low=0.0, high=1.0), random_images(20, seed=9)
    before = l1(network(images), network(targets))
    left = {}
    for precision in ("float32", "bfloat16"):
        found = LatentAttack(network, l1, precision=precision, **reading)(images, targets)
        assert found.perturbation.abs().max() <= bound + 1e-6
        assert found.images.min() >= 0 and found.images.max() <= 1
        left[precision] = float((l1(network(found.images), network(targets)) / before).mean())
    assert left["bfloat16"] == pytest.approx(left["float32"], abs=0.02) and left["float32"] < 0.95


def test_what_bfloat16_finds_is_judged_in_float32(network):
    images, targets = random_images(), random_images(seed=9)
    for epsilon in (0.05, 0.0):
        found = LatentAttack(network, l1, epsilon, steps=10, precision="bfloat16")(images, targets)
        for pictures, distance in (
            (found.images, found.distance),
            (quantize(found.images), found.saved_distance),
        ):
            torch.testing.assert_close(distance, l1(network(pictures), network(targets)))


def test_bfloat16_in_a_batch_or_alone(network):
    images, targets = random_images(), random_images(seed=9)
    attack = LatentAttack(network, l1, steps=20, precision="bfloat16")
    alone = torch.cat([attack(images[k : k + 1], targets[k : k + 1]).distance for k in range(6)])
    torch.testing.assert_close(alone, attack(images, targets).distance, rtol=0.05, atol=0.0)


def test_an_encoder_that_cannot_falls_back_and_says_so(linear, processor):
    """It writes its numbers into a float32 tensor, which refuses others."""
    processor["avx512_bf16"] = True
    places = torch.arange(7).expand(6, 7)

    def encode(images):
        return torch.zeros(6, 7).scatter(1, places, linear(images))

    images, targets = random_images(), random_images(seed=9)
    with pytest.warns(UserWarning, match="fails in bfloat16 .*, so it searches in float32") as said:
        found = LatentAttack(encode, l1, steps=3)(images, targets)
    assert len(said) == 1
    plain = LatentAttack(encode, l1, steps=3, precision="float32")(images, targets)
    assert found.precision == "float32" and found.images.equal(plain.images)
    with pytest.raises(RuntimeError, match="dtype"):
        LatentAttack(encode, l1, steps=3, precision="bfloat16")(images, targets)


# FGSM, PGD and saved pictures


def test_fgsm_of_a_linear_loss_is_its_sign():
    direction = torch.randn(3, 5, 5, generator=seeded(5))
    direction[0, 0, 0] = 0
    images = random_images(low=0.0, high=1.0)
    found = fgsm(lambda x: (x * direction).sum((1, 2, 3)), images, 0.3)
    np.testing.assert_allclose(
        found, np.clip(images.numpy() + 0.3 * np.sign(direction.numpy()), 0, 1), atol=1e-6
    )


def test_fgsm_leaves_its_input_alone_and_wants_a_length():
    images = random_images().requires_grad_()
    kept = images.detach().clone()
    found = fgsm(lambda x: x.sum((1, 2, 3)), images, 0.1)
    assert images.equal(kept) and images.grad is None and not found.requires_grad
    found = LatentAttack(lambda x: x.flatten(1), l1, steps=2)(images, kept.flip(0)).images
    assert images.equal(kept) and images.grad is None and not found.requires_grad
    with pytest.raises(ValueError, match="ε lies in .0, 1.*, got -0.1"):
        fgsm(lambda x: x.sum((1, 2, 3)), images, -0.1)


def test_pgd_of_a_linear_loss_ends_in_a_corner_of_the_box():
    direction = torch.randn(3, 5, 5, generator=seeded(5))
    images = random_images(low=0.0, high=1.0)
    corner = np.clip(images.numpy() + 0.1 * np.sign(direction.numpy()), 0, 1)
    for start in (None, seeded(6)):
        found = pgd(lambda x: (x * direction).sum((1, 2, 3)), images, 0.1, generator=start)
        np.testing.assert_allclose(found, corner, atol=1e-6)


def test_pgd_step_by_step(curved):
    images, goal = random_images(), curved(random_images(seed=9))
    x = images.clone()
    for _ in range(5):
        x.requires_grad_()
        l2(curved(x), goal).sum().backward()
        x = (x.detach() - 0.02 * x.grad.sign()).clamp(images - 0.04, images + 0.04).clamp(0, 1)
    torch.testing.assert_close(
        pgd(lambda y: -l2(curved(y), goal), images, 0.04, steps=5, rate=0.02), x
    )


def test_pgd_begins_anywhere_in_the_box_and_stays_there(curved):
    images = random_images(low=0.0, high=1.0)
    resting = [
        pgd(lambda x: 0 * x.sum((1, 2, 3)), images, 0.1, generator=seeded(k)) for k in range(40)
    ]
    away = torch.stack(resting) - images
    inside = (images > 0.1) & (images < 0.9)
    assert (
        away.abs().max() <= 0.1 + 1e-6
        and (torch.stack(resting) >= 0).all()
        and (torch.stack(resting) <= 1).all()
    )
    assert away[:, inside].abs().max() > 0.099 and away[:, inside].mean().abs() < 0.005
    with pytest.raises(ValueError, match="got -0.1; 8 grey levels are"):
        pgd(lambda x: x.sum((1, 2, 3)), images, -0.1)
    with pytest.raises(ValueError, match="steps ≥ 1 is needed, got 0"):
        pgd(lambda x: x.sum((1, 2, 3)), images, 0.1, steps=0)


def test_random_signs_are_as_large_as_an_attack():
    """+ε or −ε, about as often; less only where the picture ends."""
    images = random_images(count=40, low=0.0, high=1.0)
    found = random_signs(images, 0.05, seeded(6))
    change = found - images
    assert found.min() >= 0 and found.max() <= 1 and change.abs().max() <= 0.05 + 1e-6
    inside = (images > 0.05) & (images < 0.95)
    torch.testing.assert_close(change[inside].abs(), torch.full_like(change[inside], 0.05))
    assert 0.45 < float((change[inside] > 0).float().mean()) < 0.55


def test_random_signs_follow_their_seed():
    images = random_images()
    found = random_signs(images, 0.05, seeded(6))
    assert found.equal(random_signs(images, 0.05, seeded(6)))
    assert not found.equal(random_signs(images, 0.05, seeded(7)))
    assert random_signs(images, 0.0, seeded(6)).equal(images)


def test_quantized_pictures_survive_a_byte():
    images = random_images(low=0.0, high=1.0)
    found = quantize(images)
    as_bytes = (found * 255 + 0.5).to(torch.uint8)
    assert (as_bytes.float() / 255).equal(found)
    assert (found - images).abs().max() <= 0.5 / 255 + 1e-7


# On MoFA


def test_runs_on_one_device(tiny_tensors, fake_gpu):
    mofa = MoFA(MorphableModel(tiny_tensors, "tiny"), size=32).eval().requires_grad_(False)
    with fake_gpu.mode:
        before = CodeDistance(mofa.model)  # made on the CPU, used where the codes are
        after = CodeDistance(fake_gpu.move(mofa).model)
        images, targets = (torch.rand(2, 3, 32, 32, device="meta") for _ in range(2))
        for distance in (before, after):
            result = LatentAttack(mofa.encode, distance, steps=2, penalty=0.1)(images, targets)
            assert {t.device.type for t in (result.images, result.distance, result.course)} == {
                "meta"
            }
            assert LatentAttack(mofa.encode, distance, steps=2)(images).images.device.type == "meta"
            target = mofa.encode(targets)
            moved = fgsm(lambda x: -distance(mofa.encode(x), target), images, 0.1)  # noqa: B023
            assert moved.device.type == "meta"


@pytest.mark.parametrize(
    "precision", ["float32", pytest.param("bfloat16", marks=only_where_bfloat16_is_fast)]
)
def test_the_shipped_mofa_is_moved_to_the_target(precision):
    """And the 8-bit picture still is; noise of the same norm does not do it."""
    mofa = load_pretrained("cpu")
    faces = RenderedFaces("test", 8)
    where = next(mofa.parameters(), mofa.scales).device
    images, targets = faces.batch([0, 4]).to(where), faces.batch([4, 0]).to(where)
    distance = CodeDistance(mofa.model)

    def gained(pictures):
        return 1 - distance(mofa.encode(pictures), mofa.encode(targets)) / distance(
            mofa.encode(images), mofa.encode(targets)
        )

    attack = LatentAttack(mofa.encode, distance, epsilon=0.05, steps=15, precision=precision)
    attacked = attack(images, targets).images
    saved = quantize(attacked)
    assert (saved - images).abs().max() <= 0.05 + 0.5 / 255
    assert (gained(saved) > 0.3).all() and (gained(saved) > 0.9 * gained(attacked)).all()
    noise = 0.05 * torch.randn(images.shape, generator=seeded(0)).sign().to(where)
    assert (gained((images + noise).clamp(0, 1)) < 0.3 * gained(saved)).all()

"""`check_attack` passes a good attack; each of its checks fails on what is broken in its way."""

from functools import partial

import pytest
import torch
from bs4 import BeautifulSoup
from encoders import curved, l2, linear, random_images, seeded

from mofa_lib import LatentAttack, check_attack, fgsm, pgd
from mofa_lib.attack import AttackReport, Check, check, random_signs, square

IMAGES, TARGETS = random_images(), random_images(seed=9)
EPSILON = 0.05


def checked(attack, encode=curved, **other):
    """The checks by their names."""
    few = {"steps": 20, "queries": 100} | other
    report = check_attack(attack, encode, l2, IMAGES, TARGETS, EPSILON, **few)
    assert len(report.checks) == len(check.CHECKS)
    return {answer.name: answer for answer in report}


def failed(answers):
    return {name for name, answer in answers.items() if answer.passed is False}


def latent(encode):
    return partial(LatentAttack, encode, l2)


def from_pictures(attack):
    """A factory of an attack that is a function of images, targets, epsilon and steps."""
    return lambda epsilon, steps: partial(attack, epsilon=epsilon, steps=steps)


def projected(images, targets, epsilon, steps):
    goal = curved(targets)
    return pgd(lambda x: -l2(curved(x), goal), images, epsilon, steps)


# A good attack


@pytest.mark.parametrize(
    ("attack", "encode"),
    [
        (latent(linear), linear),
        (latent(curved), curved),
        (from_pictures(projected), curved),
    ],
    ids=["Adam, linear", "Adam, curved", "PGD, curved"],
)
def test_a_good_attack_passes(attack, encode):
    answers = checked(attack, encode, steps=40, queries=200)
    assert all(answer.passed for answer in answers.values()), answers


def test_the_answers_are_those_of_the_attack():
    """Counted here, from the attack alone."""
    answers = checked(latent(curved))
    before = l2(curved(IMAGES), curved(TARGETS))

    def gone(images):
        return float((1 - l2(curved(images), curved(TARGETS)) / before).mean())

    found = LatentAttack(curved, l2, EPSILON, 20)(IMAGES, TARGETS).images
    goal = curved(TARGETS)
    once = fgsm(lambda x: -l2(curved(x), goal), IMAGES, EPSILON)
    everything = LatentAttack(curved, l2, 1.0, 80)(IMAGES, TARGETS).images
    assert answers["better than noise"].value == pytest.approx(gone(found), abs=1e-4)
    assert answers["ε = 1"].value == pytest.approx(gone(everything), abs=1e-4)
    assert answers["better than one step"].value == pytest.approx(
        gone(found) - gone(once), abs=1e-4
    )


def test_pictures_and_encoder_stay_as_they_are():
    kept = IMAGES.clone(), TARGETS.clone()
    with torch.inference_mode():
        assert "gradients" not in failed(checked(latent(curved), steps=3))
    assert IMAGES.equal(kept[0]) and TARGETS.equal(kept[1])


def test_the_same_attack_gets_the_same_report():
    once, again = (checked(latent(curved), steps=3) for _ in range(2))
    assert once == again


# Broken attacks on a good encoder


def too_far(images, targets, epsilon, steps):
    return projected(images, targets, min(2 * epsilon, 1.0), steps)


def beyond_white(images, targets, epsilon, steps):
    return projected(images, targets, epsilon, steps) + 0.9 * epsilon


def not_a_number(images, targets, epsilon, steps):
    return projected(images, targets, epsilon, steps) * (torch.nan if epsilon == EPSILON else 1)


def always_a_little(images, targets, epsilon, steps):
    return projected(images, targets, max(epsilon, 0.005), steps)


def wrong_way(images, targets, epsilon, steps):
    """To the next picture's target."""
    return projected(images, targets.roll(1, 0), epsilon, steps)


def for_small_bounds(images, targets, epsilon, steps):
    return projected(images, targets, epsilon if epsilon < 0.5 else 0.01, steps)


def tired_at_large_bounds(images, targets, epsilon, steps):
    return projected(images, targets, epsilon if epsilon < 0.04 else epsilon / 10, steps)


def without_steps(images, targets, epsilon, steps):
    return projected(images, targets, epsilon, max(1, steps // 20))


def slow(images, targets, epsilon, steps):
    goal = curved(targets)
    return pgd(lambda x: -l2(curved(x), goal), images, epsilon, steps, rate=epsilon / 80)


def half_of_the_picture(images, targets, epsilon, steps):
    found = projected(images, targets, epsilon, steps)
    return torch.cat([images[:, :, :3], found[:, :, 3:]], 2)


def noise(images, targets, epsilon, steps):
    return random_signs(images, epsilon, seeded(77))


def nothing(images, targets, epsilon, steps):
    return images


def one_step(images, targets, epsilon, steps):
    goal = curved(targets)
    return fgsm(lambda x: -l2(curved(x), goal), images, epsilon)


BROKEN = [
    (too_far, {"bound"}),
    (beyond_white, {"bound"}),
    (not_a_number, {"bound"}),
    (always_a_little, {"nothing at ε = 0"}),
    (wrong_way, {"planted target", "ε = 1"}),
    (half_of_the_picture, {"planted target", "Auto-PGD, other starts"}),
    (for_small_bounds, {"ε = 1"}),
    (tired_at_large_bounds, {"more at a larger ε"}),
    (slow, {"4 times the steps"}),
    (without_steps, {"4 times the steps"}),
    (noise, {"better than noise", "black box"}),
    (nothing, {"better than noise"}),
    (one_step, {"better than one step"}),
]


@pytest.mark.parametrize(("attack", "names"), BROKEN, ids=[f.__name__ for f, _ in BROKEN])
def test_a_broken_attack_fails_its_check(attack, names):
    answers = checked(from_pictures(attack))
    assert names <= failed(answers), failed(answers)
    encoder_s = {"same answer twice", "gradients", "finite differences"}
    assert all(answers[other].passed for other in encoder_s)


@pytest.mark.parametrize(
    ("attack", "name"), [(always_a_little, "nothing at ε = 0"), (for_small_bounds, "ε = 1")]
)
def test_what_is_broken_in_one_way_passes_the_rest(attack, name):
    assert failed(checked(from_pictures(attack), steps=40)) == {name}


def test_a_latent_attack_with_too_few_steps_fails():
    assert "4 times the steps" in failed(checked(latent(curved), steps=2))


# A good attack on encoders whose gradients mislead


class StraightThrough(torch.autograd.Function):
    """Rounds, and says that it does nothing."""

    @staticmethod
    def forward(context, values):
        return values.round()

    @staticmethod
    def backward(context, gradient):
        return gradient


class Scrambled(torch.autograd.Function):
    """Does nothing, and hands back the gradient with its pixels in another order."""

    @staticmethod
    def forward(context, images):
        return images.clone()

    @staticmethod
    def backward(context, gradient):
        order = torch.randperm(75, generator=seeded(0))
        return gradient.flatten(1)[:, order].view_as(gradient)


def random(images):
    return curved(images + 0.02 * torch.randn_like(images))


def rounded(images):
    return curved(images).round()


def detached(images):
    return curved(images.detach())


def masked_for_some(images):
    """The gradient of bright pictures is lost."""
    bright = (images.mean((1, 2, 3), keepdim=True) > 0.5).float().detach()
    return curved(bright * images.detach() + (1 - bright) * images)


def straight_through(images):
    return StraightThrough.apply(5 * linear(images))


def scrambled(images):
    return curved(Scrambled.apply(images))


def halved(images):
    """Half of the gradient is lost, evenly."""
    return curved(0.5 * images + 0.5 * images.detach())


MISLEADING = [
    (random, {"same answer twice"}),
    (rounded, {"gradients", "better than noise", "black box"}),
    (detached, {"gradients", "better than noise", "black box"}),
    (masked_for_some, {"gradients", "planted target", "black box"}),
    (straight_through, {"finite differences"}),
    (scrambled, {"finite differences", "planted target", "black box"}),
    (halved, {"finite differences"}),
]


@pytest.mark.parametrize(("encode", "names"), MISLEADING, ids=lambda x: getattr(x, "__name__", ""))
def test_an_encoder_that_misleads_is_noticed(encode, names):
    def attack(images, targets, epsilon, steps):
        goal = encode(targets)
        return pgd(lambda x: 0 * x.sum() - l2(encode(x), goal), images, epsilon, steps)

    torch.manual_seed(0)
    answers = checked(from_pictures(attack), encode)
    assert names <= failed(answers), failed(answers)
    assert answers["bound"].passed and answers["nothing at ε = 0"].passed


@pytest.mark.filterwarnings("ignore:Every gradient of the attack is zero")
def test_the_paper_s_attack_does_not_hide_a_masked_gradient():
    assert {"gradients", "black box"} <= failed(checked(latent(rounded), rounded))


def test_where_there_is_no_gradient_there_is_no_answer_about_it():
    """An attack by queries on an encoder without gradients: the rest is asked all the same."""

    def asking(images, targets, epsilon, steps):
        goal = detached(targets)
        return square(lambda x: -l2(detached(x), goal), images, epsilon, 150, seeded(5)).images

    answers = checked(from_pictures(asking), detached)
    assert answers["gradients"].value == 1 and answers["finite differences"].passed is None
    assert answers["black box"].passed and answers["better than noise"].passed


def test_a_target_that_cannot_be_told_from_the_picture_says_nothing():
    """Codes so coarse that a planted target has the picture's own."""

    def coarse(images):
        return (images.mean((2, 3)) > 0.5).float() * 3 + images.detach().round().mean((2, 3))

    images = torch.full((2, 3, 5, 5), 0.2)
    report = check_attack(
        from_pictures(nothing), coarse, l2, images, 1 - images, 0.05, queries=20, steps=2
    )
    assert {answer.name: answer.passed for answer in report}["planted target"] is None


# Arguments and the report


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epsilon": 0.0}, "a positive ε is needed"),
        ({"epsilon": 2.0}, "ε lies in .0, 1."),
        ({"steps": 0}, "steps ≥ 1 is needed, got 0"),
        ({"queries": 0}, "queries ≥ 1 is needed, got 0"),
        ({"targets": TARGETS[:2]}, "Each picture needs its target"),
        ({"targets": curved(TARGETS)}, "targets of the checks are pictures, not codes"),
        ({"targets": IMAGES}, "a target with another code than its own"),
    ],
)
def test_what_cannot_be_judged_is_refused(unchecked, wrong, message):
    arguments = {"images": IMAGES, "targets": TARGETS, "epsilon": EPSILON} | wrong
    with pytest.raises(ValueError, match=message):
        check_attack(latent(curved), curved, l2, **arguments)


def test_a_report_says_what_failed():
    lines = (
        Check("good", True, 0.5, "half"),
        Check("bad", False, 1.0, "all: too much"),
        Check("silent", None, float("nan"), "nobody knows"),
    )
    report = AttackReport(lines)
    assert tuple(report) == lines and not report.passed
    said = str(report).splitlines()
    assert said[0] == "3 checks of an attack, 1 failed" and len(said) == 4
    assert [line.split()[0] for line in said[1:]] == ["passed", "FAILED", "no"]
    table = BeautifulSoup(report._repr_html_(), "html.parser")
    cells = [[cell.text for cell in row.find_all(["th", "td"])] for row in table.find_all("tr")]
    assert cells[0] == ["check", "verdict", "value", "meaning"]
    assert cells[2] == ["bad", "FAILED", "1", "all: too much"] and len(cells) == 4
    assert AttackReport((lines[0], lines[2])).passed


def test_only_a_failure_says_what_may_be_behind_it():
    good, bad = checked(latent(curved)), checked(from_pictures(wrong_way))
    for name, answer in bad.items():
        assert answer.meaning.startswith(good[name].meaning)
        assert (answer.meaning == good[name].meaning) == bool(answer.passed)


def test_every_check_is_seen_to_fail():
    """Here, above: by the names that the checks give themselves."""
    named = {name for _, names in (*BROKEN, *MISLEADING) for name in names}
    given = {answer.name for answer in check_attack(
        from_pictures(nothing), curved, l2, IMAGES, TARGETS, EPSILON, steps=1, queries=1
    )}  # fmt: skip
    assert named == given

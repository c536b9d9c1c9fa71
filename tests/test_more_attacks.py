"""Auto-PGD, attackers who only ask, and one perturbation for all: against loops, closed forms, a
solver of bounded least squares, and ART's attacks.
"""

import art.attacks.evasion.auto_projected_gradient_descent as art_apgd
import numpy as np
import pytest
import torch
from art.attacks.evasion import SquareAttack
from art.estimators.classification import PyTorchClassifier
from encoders import MATRIX, curved, l1, l2, linear, random_images, seeded
from scipy.optimize import lsq_linear

from mofa_lib import apgd, fgsm, pgd
from mofa_lib.attack import nes, random_signs, square, universal

# Each as a function of loss, images, ε and a seed.
ATTACKS = {
    "apgd": lambda loss, images, epsilon, seed: apgd(loss, images, epsilon, 20, seeded(seed)),
    "square": lambda loss, images, epsilon, seed: (
        square(loss, images, epsilon, 200, seeded(seed)).images
    ),
    "nes": lambda loss, images, epsilon, seed: nes(loss, images, epsilon, 400, seeded(seed)).images,
    "universal": lambda loss, images, epsilon, seed: (
        images + universal(lambda x, _: loss(x), images, epsilon, 20, 50, seeded(seed))
    ).clamp(0, 1),
}
every_attack = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)


def nearer(encode, distance, targets):
    """The loss of who wants to come to the targets' codes."""
    goal = encode(targets)
    return lambda images: -distance(encode(images), goal)


def recorded(loss):
    """The same loss, and the lists of what it is asked and of what it answers."""
    asked, answers = [], []

    def recording(images):
        asked.append(images.detach().clone())
        answers.append(loss(images).detach())
        return loss(images)

    return recording, asked, answers


# What must hold for every attack


@every_attack
@pytest.mark.parametrize("epsilon", [0.05, 0.3])
def test_an_attack_keeps_and_uses_its_bound(attack, epsilon):
    images = random_images(low=0.0, high=1.0)
    found = attack(nearer(curved, l2, random_images(seed=9)), images, epsilon, 0)
    assert found.shape == images.shape and found.min() >= 0 and found.max() <= 1
    assert 0.9 * epsilon < (found - images).abs().max() <= epsilon + 1e-6
    assert not found.requires_grad


@every_attack
def test_no_epsilon_no_perturbation(attack):
    images = random_images(low=0.0, high=1.0)
    assert attack(nearer(curved, l2, random_images(seed=9)), images, 0.0, 0).equal(images)


@every_attack
def test_equal_seeds_give_equal_pictures_and_others_do_not(attack):
    images, kept = random_images(), random_images()
    loss = nearer(curved, l2, random_images(seed=9))
    found = attack(loss, images, 0.05, 1)
    assert found.equal(attack(loss, images, 0.05, 1)) and images.equal(kept)
    assert not found.equal(attack(loss, images, 0.05, 2))


@every_attack
def test_an_attack_beats_noise_of_its_size(attack):
    """Toward one target for all, so that one perturbation for all can do it."""
    images, target = random_images(20), random_images(1, seed=9).expand(20, 3, 5, 5)
    loss = nearer(linear, l2, target)
    gained = (loss(attack(loss, images, 0.05, 0)) - loss(images)).mean()
    noise = [loss(random_signs(images, 0.05, seeded(k))) - loss(images) for k in range(5)]
    assert gained > 3 * torch.stack(noise).mean(1).abs().max()


@every_attack
def test_what_is_out_of_range_is_refused(unchecked, attack):
    def loss(images):
        return images.sum((1, 2, 3))

    with pytest.raises(ValueError, match="ε lies in .0, 1.*, got -0.1"):
        attack(loss, random_images(), -0.1, 0)
    with pytest.raises(ValueError, match=r"Images must lie in \[0, 1\]"):
        attack(loss, random_images() - 0.5, 0.1, 0)
    with pytest.raises(TypeError, match="divide 8-bit values by 255"):
        attack(loss, torch.zeros(2, 3, 5, 5, dtype=torch.uint8), 0.1, 0)


def test_attacks_run_where_the_pictures_are(fake_gpu):
    def loss(pictures, _=None):
        return pictures.square().sum((1, 2, 3))

    with fake_gpu.mode:
        images = torch.rand(2, 3, 5, 5, device="meta")
        for found in (
            apgd(loss, images, 0.1, 5, seeded(0)),
            square(loss, images, 0.1, 3, seeded(0)).images,
            nes(loss, images, 0.1, 6, seeded(0), pairs=1).images,
            universal(loss, images, 0.1, 3, 1, seeded(0)),
        ):
            assert found.device.type == "meta" and found.dtype == torch.float32


def test_wrong_numbers_are_refused():
    images = random_images()
    with pytest.raises(ValueError, match="steps ≥ 1 is needed, got 0"):
        apgd(linear, images, 0.1, 0)
    for ask in (square, nes):
        with pytest.raises(ValueError, match="queries ≥ 1 is needed, got 0"):
            ask(linear, images, 0.1, 0, seeded(0))
    with pytest.raises(ValueError, match="pairs ≥ 1 is needed, got 0"):
        nes(linear, images, 0.1, 9, seeded(0), pairs=0)
    with pytest.raises(ValueError, match="positive σ, got 0"):
        nes(linear, images, 0.1, 9, seeded(0), sigma=0.0)
    with pytest.raises(ValueError, match="steps ≥ 1 is needed, got 0"):
        universal(linear, images, 0.1, 0, 3, seeded(0))
    with pytest.raises(ValueError, match="batch ≥ 1 is needed, got 0"):
        universal(linear, images, 0.1, 3, 0, seeded(0))


# Auto-PGD


def best_of_algorithm_1(loss, image, epsilon, steps):
    """Croce and Hein's Algorithm 1 on one picture, with lists of all that is ever known."""
    low, high = (image - epsilon).clamp(min=0), (image + epsilon).clamp(max=1)
    shares = [0.0, 0.22]
    while shares[-1] <= 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    checkpoints = [int(np.ceil(round(share * steps, 6))) for share in shares]

    def value_and_slope(x):
        x = x.detach().requires_grad_()
        loss(x).backward()
        return float(loss(x.detach())), x.grad

    xs, length, lengths, tops, rises = [image], 2 * epsilon, [2 * epsilon], [], []
    best, best_value = image, value_and_slope(image)[0]
    tops.append(best_value)
    for k in range(steps):
        here, slope = value_and_slope(xs[-1])
        z = torch.min(torch.max(xs[-1] + length * slope.sign(), low), high)
        if k:
            z = xs[-1] + 0.75 * (z - xs[-1]) + 0.25 * (xs[-1] - xs[-2])
        x = torch.min(torch.max(z, low), high)
        there = value_and_slope(x)[0]
        rises.append(there > here)
        if there > best_value:
            best, best_value = x, there
        xs.append(x)
        if k + 1 in checkpoints:
            since = checkpoints[checkpoints.index(k + 1) - 1]
            too_few = sum(rises[since:]) < 0.75 * (k + 1 - since)
            same_length = len(lengths) < 2 or lengths[-1] == lengths[-2]
            if too_few or (same_length and best_value == tops[-1]):
                length = length / 2
                xs[-1] = best
            lengths.append(length)
            tops.append(best_value)
    return best, lengths


@pytest.mark.parametrize("steps", [1, 7, 50])
def test_auto_pgd_picture_by_picture(steps):
    images, targets = random_images(low=0.0, high=1.0).double(), random_images(seed=9).double()
    found = apgd(nearer(curved, l2, targets), images, 0.1, steps)
    lengths = set()
    for image, target, one in zip(images.split(1), targets.split(1), found.split(1), strict=True):
        expected, halvings = best_of_algorithm_1(nearer(curved, l2, target), image, 0.1, steps)
        torch.testing.assert_close(one, expected)
        lengths.add(tuple(halvings))
    assert steps < 50 or len(lengths) > 1, "a picture has steps of its own"


def test_auto_pgd_reaches_the_best_that_there_is():
    """On a linear encoder: bounded least squares, solved by scipy."""
    images, targets = random_images(), random_images(seed=9)
    for epsilon in (0.02, 0.05):
        found = apgd(nearer(linear, l2, targets), images, epsilon, 100)
        left = l2(linear(found), linear(targets))
        for image, target, one in zip(images, targets, left, strict=True):
            x = image.flatten().double().numpy()
            goal = linear(target[None])[0].double().numpy()
            best = lsq_linear(MATRIX.T.double().numpy(), goal, (x - epsilon, x + epsilon))
            assert float(one) == pytest.approx(2 * best.cost, rel=0.01, abs=1e-5)


@pytest.mark.parametrize("distance", [l1, l2])
@pytest.mark.parametrize("epsilon", [0.02, 0.05, 0.1])
def test_auto_pgd_is_no_worse_than_pgd_with_as_many_gradients(epsilon, distance):
    images, targets = random_images(20), random_images(20, seed=9)
    loss = nearer(curved, distance, targets)
    for steps in (20, 50):
        ours, plain = apgd(loss, images, epsilon, steps), pgd(loss, images, epsilon, steps + 1)
        assert loss(ours).mean() >= loss(plain).mean()


def test_auto_pgd_returns_the_best_that_it_has_seen():
    images = random_images()
    loss, asked, answers = recorded(nearer(curved, l2, random_images(seed=9)))
    found = apgd(loss, images, 0.2, 30, seeded(3))
    best, where = torch.stack(answers).max(0)
    assert len(asked) == 31
    assert found.equal(torch.stack(asked)[where, torch.arange(6)])
    assert (best > answers[-1]).any(), "there is a picture whose last iterate is not its best"


def art_classifier(encode, loss):
    """ART's view of an encoder: a classifier whose loss knows its targets."""

    class Loss(torch.nn.Module):
        reduction = "sum"

        def forward(self, codes, _):
            return loss(codes) if self.reduction == "none" else loss(codes).sum()

    class Network(torch.nn.Module):
        def forward(self, images):
            return encode(images)

    return PyTorchClassifier(
        Network(), loss=Loss(), input_shape=(3, 5, 5), nb_classes=7, clip_values=(0.0, 1.0)
    )


def test_auto_pgd_is_no_worse_than_that_of_art(monkeypatch):
    """From the same start. ART counts new bests where the paper counts rises."""
    images, targets = random_images(20), random_images(20, seed=9)
    goal = curved(targets)
    monkeypatch.setattr(art_apgd, "random_sphere", lambda n, m, *_: np.zeros((n, m)))
    theirs = art_apgd.AutoProjectedGradientDescent(
        art_classifier(curved, lambda codes: -l2(codes, goal)),
        eps=0.05, eps_step=0.1, max_iter=40, nb_random_init=1, verbose=False,
    )  # fmt: skip
    theirs.generate(images.numpy())
    loss = nearer(curved, l2, targets)
    before = loss(images)
    ours = loss(apgd(loss, images, 0.05, 40)) - before
    best = torch.from_numpy(theirs.f_max) - before
    assert (best > 0).all() and ours.mean() > 0.99 * best.mean()


# Who may only ask


def ask_square(loss, images, epsilon, queries, seed=0):
    return square(loss, images, epsilon, queries, seeded(seed))


def ask_nes(loss, images, epsilon, queries, seed=0):
    return nes(loss, images, epsilon, queries, seeded(seed), pairs=10)


both = pytest.mark.parametrize("ask", [ask_square, ask_nes])


@both
@pytest.mark.parametrize("queries", [1, 2, 3, 20, 21, 22, 100])
def test_no_query_is_lost_and_no_gradient_asked_for(ask, queries):
    """The loss is NumPy's. What comes back is the best that was ever sent, and so is the course."""
    images, goal = random_images(), linear(random_images(seed=9)).numpy()
    sent, answers = [], []

    def loss(pictures):
        codes = pictures.numpy().reshape(len(pictures), -1) @ MATRIX.numpy()
        sent.append(pictures.clone())
        answers.append(torch.from_numpy(-np.abs(codes - goal).sum(1)))
        return answers[-1]

    found = ask(loss, images, 0.05, queries)
    assert len(sent) == queries and all(len(pictures) == 6 for pictures in sent)
    assert all((pictures - images).abs().max() <= 0.05 + 1e-6 for pictures in sent)
    torch.testing.assert_close(found.course, torch.stack(answers).cummax(0).values)
    where = torch.stack(answers).argmax(0)
    assert found.images.equal(torch.stack(sent)[where, torch.arange(6)])


@both
def test_more_queries_find_more_and_less_than_gradients(ask):
    images, targets = random_images(12), random_images(12, seed=9)
    loss = nearer(curved, l2, targets)
    before, few, many = (
        loss(images),
        ask(loss, images, 0.02, 30).course[-1],
        ask(loss, images, 0.02, 1000).course[-1],
    )
    assert before.mean() < few.mean() < many.mean() < loss(apgd(loss, images, 0.02, 50)).mean()


def test_squares_are_squares_and_shrink():
    """Each candidate is the best so far with one square of ±ε, one sign a channel."""
    images, epsilon, queries = random_images(4, low=0.0, high=1.0), 0.1, 200
    loss, asked, answers = recorded(nearer(curved, l2, random_images(4, seed=9)))
    square(loss, images, epsilon, queries, seeded(0))
    signs = (asked[0] - images).sign()
    inside = (images > 0) & (images < 1)
    stripes = torch.where(inside, signs, 0).sum(2, keepdim=True).sign()
    assert (torch.where(inside, signs - stripes, 0) == 0).all()

    best, best_value, widths = asked[0].clone(), answers[0], []
    for k in range(1, queries):
        part = k / queries
        share = 0.8 / 2 ** sum(
            part > at for at in (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
        )
        side = max(round((share * 25) ** 0.5), 1)
        for picture in range(4):
            changed = asked[k][picture] != best[picture]
            rows, columns = changed.any(0).nonzero(as_tuple=True)
            if len(rows):
                width = max(int(rows.max() - rows.min()), int(columns.max() - columns.min())) + 1
                assert width <= side
                widths.append((k, width == side))
            for channel in range(3):
                values = (asked[k] - images)[picture, channel][changed[channel]]
                assert len(set(values.sign().tolist()) - {0.0}) <= 1
        better = answers[k] > best_value
        best[better], best_value = asked[k][better], torch.maximum(best_value, answers[k])
    assert np.mean([full for _, full in widths]) > 0.5, "the squares are not smaller than they say"


def test_squares_reach_every_corner_of_the_picture():
    direction = torch.randn(3, 5, 5, generator=seeded(5))
    images = random_images(low=0.0, high=1.0)
    found = square(lambda x: (x * direction).sum((1, 2, 3)), images, 0.1, 3000, seeded(0)).images
    corner = np.clip(images.numpy() + 0.1 * np.sign(direction.numpy()), 0, 1)
    np.testing.assert_allclose(found, corner, atol=1e-6)


def test_squares_find_no_less_than_those_of_art():
    """ART's stay away from the last row and column, so ours may find more."""
    images, targets = random_images(20), random_images(20, seed=9)
    loss = nearer(curved, l2, targets)
    np.random.seed(0)
    theirs = SquareAttack(
        art_classifier(curved, lambda codes: codes.sum(1)),
        adv_criterion=lambda found, _: np.zeros(len(found), bool),
        loss=lambda x, _: -loss(torch.from_numpy(x)).numpy(),
        max_iter=299, eps=0.02, verbose=False,
    )  # fmt: skip
    found = loss(torch.from_numpy(theirs.generate(images.numpy())))
    before, ours = loss(images), square(loss, images, 0.02, 300, seeded(0)).course[-1]
    assert (found > before).all()
    assert (ours - before).mean() > 0.9 * (found - before).mean()


def test_pairs_of_queries_estimate_the_gradient():
    """One step from many pairs is FGSM's, but where the gradient is small."""
    images, queries = random_images(low=0.0, high=1.0), 2 * 2000 + 1
    loss, asked, _ = recorded(nearer(curved, l2, random_images(seed=9)))
    nes(loss, images, 0.05, queries, seeded(0), pairs=2000, rate=0.05)
    agree = (asked[-1] - fgsm(loss, images, 0.05)).abs() < 1e-6
    assert agree.float().mean() > 0.9


# One perturbation for all


def weighted(count: int):
    """A loss with a direction of its own for each picture, and the mean gradient."""
    directions = torch.randn(count, 7, generator=seeded(4)) + 0.3
    gradient = (MATRIX @ directions.mean(0)).view(1, 3, 5, 5)
    return lambda images, rows: (linear(images) * directions[rows]).sum(1), gradient


def test_one_perturbation_for_all_is_the_sign_of_the_mean_gradient():
    loss, gradient = weighted(40)
    delta = universal(loss, random_images(40), 0.1, 10, 40, seeded(0))
    torch.testing.assert_close(delta, 0.1 * gradient.sign())


def test_random_batches_come_as_far():
    """Nearly: the sign of a small mean gradient is not that of every batch."""
    loss, gradient = weighted(40)
    best = 0.1 * gradient.abs().sum()
    for batch, share in ((8, 0.97), (1, 0.8)):
        delta = universal(loss, random_images(40), 0.1, 200, batch, seeded(0))
        assert share * best < (gradient * delta).sum() <= best + 1e-4


def test_a_batch_is_some_of_the_pictures_with_their_rows():
    images, seen = random_images(10), []

    def loss(attacked, rows):
        seen.append(rows.tolist())
        change = attacked - images[rows]
        torch.testing.assert_close(change, change[:1].expand_as(change))
        return attacked.sum((1, 2, 3))

    universal(loss, images, 0.1, 50, 4, seeded(0))
    assert all(len(set(rows)) == 4 for rows in seen) and len(seen) == 50
    assert set(sum(seen, [])) == set(range(10)) and len({tuple(rows) for rows in seen}) > 40


def test_a_perturbation_does_not_get_lost_beyond_black():
    """Where all pictures are black it cannot go down, so it can come up again."""
    images = random_images(12, low=0.0, high=1.0)
    images[:, :, 0], images[:, :, 1] = 0.0, 1.0
    delta = universal(lambda x, _: x.sum((1, 2, 3)), images, 0.1, 10, 12, seeded(0))
    expected = torch.full_like(delta, 0.1)
    expected[:, :, 1] = 0
    torch.testing.assert_close(delta, expected)


def test_one_perturbation_can_lead_away_from_all_codes():
    """At the pictures themselves that loss has no gradient."""
    images = random_images(20)
    own = curved(images)

    def away(attacked, rows):
        return l2(curved(attacked), own[rows])

    everyone = torch.arange(20)
    delta = universal(away, images, 0.05, 100, 10, seeded(0))
    noise = [away(random_signs(images, 0.05, seeded(k)), everyone).mean() for k in range(5)]
    assert away(images + delta, everyone).mean() > 2 * max(noise)

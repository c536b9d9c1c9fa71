"""Analysis by synthesis, on pictures whose code is known."""

import pytest
import torch

from mofa_lib import FaceCode, MoFA
from mofa_lib.refinement import Refinement

SIDE = 32


@pytest.fixture(scope="module")
def mofa(tiny_model):
    torch.manual_seed(0)
    return MoFA(tiny_model, SIDE, "tiny").eval().requires_grad_(False)


@pytest.fixture(scope="module")
def truth(mofa):
    """Codes of four faces near the mean."""
    random = torch.Generator().manual_seed(1)
    z = 0.5 * torch.randn(4, len(mofa.scales), generator=random) * mofa.scales
    return FaceCode.from_vector(z, mofa.model)


@pytest.fixture(scope="module")
def pictures(mofa, truth):
    return mofa.decode(truth).over(torch.full((4, 3, SIDE, SIDE), 0.5))


def moved(truth, mofa, size):
    random = torch.Generator().manual_seed(2)
    away = torch.randn(truth.to_vector().shape, generator=random) * mofa.scales
    return FaceCode.from_vector(truth.to_vector() + size * away, mofa.model)


def apart(mofa, a, b):
    """In units of the encoder's output."""
    return ((a.to_vector() - b.to_vector()) / mofa.scales).norm(dim=1)


def test_a_code_is_pulled_back_to_what_the_picture_shows(mofa, truth, pictures):
    start = moved(truth, mofa, 0.3)
    refined = Refinement(mofa, steps=60, rate=0.3)
    found = refined(pictures, start)
    assert (refined.energy(pictures, found) < refined.energy(pictures, start)).all()
    for group in ("rotation", "illumination"):  # what a picture shows best
        before = (getattr(start, group) - getattr(truth, group)).norm(dim=1)
        after = (getattr(found, group) - getattr(truth, group)).norm(dim=1)
        assert after.mean() < 0.8 * before.mean()


def test_no_steps_leave_the_code(mofa, truth, pictures):
    start = moved(truth, mofa, 0.3)
    same = Refinement(mofa, 0)(pictures, start)
    torch.testing.assert_close(same.to_vector(), start.to_vector())
    encoded = mofa.encode(pictures).to_vector()
    torch.testing.assert_close(Refinement(mofa, 0)(pictures).to_vector(), encoded)


def test_each_picture_is_refined_by_itself(mofa, truth, pictures):
    start, refined = moved(truth, mofa, 0.3), Refinement(mofa, steps=5)
    together = refined(pictures, start).to_vector()
    alone = refined(pictures[2:3], start[2]).to_vector()
    torch.testing.assert_close(together[2:3], alone, rtol=1e-4, atol=1e-4)


def test_a_step_goes_down_the_slope_of_the_energy(mofa, truth, pictures):
    """Against finite differences of the light, where the energy is smooth."""
    start, refined = moved(truth, mofa, 0.3)[:1], Refinement(mofa, steps=1, rate=1e-3)
    step = (refined(pictures[:1], start).to_vector() - start.to_vector())[0] / mofa.scales
    slopes, small = [], 1e-2
    places = range(len(mofa.scales) - 27, len(mofa.scales))
    for place in places:
        change = torch.zeros(1, len(mofa.scales))
        change[0, place] = small * mofa.scales[place]
        energies = []
        for sign in (1, -1):
            code = FaceCode.from_vector(start.to_vector() + sign * change, mofa.model)
            energies.append(refined.energy(pictures[:1], code))
        slopes.append(float(energies[0] - energies[1]) / (2 * small))
    down = -torch.tensor(slopes)
    assert torch.cosine_similarity(step[list(places)], down, dim=0) > 0.99


def test_an_attacker_sees_through_the_steps(mofa, truth, pictures):
    """The derivative of the refined code, against a finite difference in the picture."""
    refined = Refinement(mofa, steps=3, rate=0.05)
    start, random = moved(truth, mofa, 0.3)[:1], torch.Generator().manual_seed(3)
    image = (0.9 * pictures[:1] + 0.05).requires_grad_()
    weights = torch.randn(len(mofa.scales), generator=random) / mofa.scales

    def read(x):
        return (refined(x, start, differentiable=True).to_vector() @ weights).sum()

    (gradient,) = torch.autograd.grad(read(image), image)
    direction = gradient / gradient.norm()
    small = 1e-2
    with torch.no_grad():
        change = read(image + small * direction) - read(image - small * direction)
    assert float(change) / (2 * small) == pytest.approx(float(gradient.norm()), rel=0.1)


def test_a_smaller_drawing_is_compared_with_the_averaged_picture(mofa, truth, pictures):
    start, refined = moved(truth, mofa, 0.3), Refinement(mofa, 30, rate=0.3, side=SIDE // 2)
    found = refined(pictures, start)
    away = [refined.energy(pictures, code) for code in (truth, found, start)]
    assert (away[0] < away[2]).all() and (away[1] < away[2]).all()


def test_wrong_settings_are_refused(mofa):
    with pytest.raises(ValueError, match="rate"):
        Refinement(mofa, rate=0.0)
    with pytest.raises(ValueError, match="steps"):
        Refinement(mofa, steps=-1)
    with pytest.raises(ValueError, match=f"must divide the pictures' {SIDE}"):
        Refinement(mofa, side=SIDE - 1)


def test_who_does_not_ask_for_a_gradient_gets_none(mofa, truth, pictures):
    image = (0.9 * pictures[:1] + 0.05).requires_grad_()
    assert mofa.encode(image).to_vector().requires_grad
    assert not Refinement(mofa, steps=2)(image).to_vector().requires_grad

"""Recognition as a loss: by hand with a judge that one can follow, and with the real one."""

import numpy as np
import pytest
import torch
from few_faces import FewFaces
from torch import nn

from mofa_lib import FaceCode, FaceRenderer, MoFA
from mofa_lib.faces import five_points
from mofa_lib.judges import Judge, load_judge
from mofa_lib.likeness import with_margin
from mofa_lib.losses import LossWeights, landmark, photometric
from mofa_lib.training.batches import Batch
from mofa_lib.training.objectives import MoFAObjective
from mofa_lib.training.recognition import SHARPNESS, Recognition, mean_embeddings


class Colourist(Judge):
    """A judge who sees nothing but the mean colour of a picture."""

    def __init__(self):
        nn.Module.__init__(self)
        self.none = nn.Parameter(torch.zeros(1), requires_grad=False)

    def cut(self, images, points):
        assert (points >= 0).all() and (points <= images.shape[-1]).all()
        return images

    def forward(self, cuts):
        return cuts.mean((2, 3))


def rendering(model, codes: int = 3, size: int = 48):
    code = FaceCode.mean(model, codes)
    code.appearance[:] = 3 * torch.randn(code.appearance.shape, generator=seeded())
    code.appearance.requires_grad_()
    return code, FaceRenderer(model, size)(code)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_it_is_the_cross_entropy_of_distances(tiny_model):
    code, drawn = rendering(tiny_model)
    people = torch.rand(7, 3, generator=seeded(1))
    who = torch.tensor([4, 2, 6])
    found = Recognition(Colourist(), people)(drawn, drawn.landmarks.detach(), who)

    grey = np.where(drawn.mask.numpy() > 0, drawn.image.detach().clamp(0, 1).numpy(), 0.5)
    for b in range(3):
        framed = np.full((3, 96, 96), 0.5)
        framed[:, 24:72, 24:72] = grey[b]
        away = [np.linalg.norm(framed.mean((1, 2)) - people[p].numpy()) for p in who]
        likely = np.exp(-SHARPNESS * np.array(away))
        assert found[b].item() == pytest.approx(-np.log(likely[b] / likely.sum()), abs=1e-4)
    found.sum().backward()
    assert code.appearance.grad.abs().sum() > 0


def test_another_picture_of_the_same_person_is_no_stranger(tiny_model):
    _, drawn = rendering(tiny_model)
    people = torch.rand(2, 3, generator=seeded(1))
    one = Recognition(Colourist(), people)
    alike = one(drawn, drawn.landmarks, torch.tensor([1, 1, 1]))
    torch.testing.assert_close(alike, torch.zeros(3))  # nobody else to be taken for
    assert (one(drawn, drawn.landmarks, torch.tensor([1, 1, 0])) > 0).all()


def test_mean_embeddings_are_of_each_person():
    faces = FewFaces(250)
    faces.identities = torch.arange(250) % 7
    means = mean_embeddings(Colourist(), faces)
    assert means.shape == (7, 3)
    for person in range(7):
        own = faces.images[faces.identities == person].mean((0, 2, 3))
        framed = 0.25 * own + 0.75 * 0.5
        torch.testing.assert_close(means[person], framed)


def test_faces_that_the_judge_cannot_see_are_left_out(model):
    """The last one's points lie so near to each other that its cut would be tiny."""
    renderer, judge = FaceRenderer(model, 112), load_judge("dlib")
    codes = FaceCode.mean(model, 3)
    codes.appearance[:] = 2 * torch.randn(codes.appearance.shape, generator=seeded(4))
    with torch.no_grad():
        drawn = renderer(codes)
        marks = drawn.landmarks.clone()
        marks[2] = 56 + 0.05 * (marks[2] - 56)
        grey = drawn.over(torch.full_like(drawn.image, 0.5))
        people = judge.embed(*with_margin(grey, drawn.landmarks))
        found = Recognition(judge, people)(drawn, marks, torch.arange(3))
        away = torch.cdist(people[:2], people)
    expected = -torch.log_softmax(-SHARPNESS * away, 1).diagonal()
    torch.testing.assert_close(found[:2], expected, rtol=1e-3, atol=1e-4)
    assert found[2] == 0

    faces = FewFaces(3)
    faces.images, faces.landmarks, faces.identities = grey, marks, torch.tensor([0, 0, 1])
    means = mean_embeddings(judge, faces)
    torch.testing.assert_close(means[0], people[:2].mean(0), rtol=1e-3, atol=1e-4)
    assert not means[1].any()


def test_the_real_judge_prefers_the_right_person(model):
    """Heads of three people; a smile and another light do not make strangers of them."""
    codes = FaceCode.mean(model, 3)
    codes.shape[:] = 2 * torch.randn(codes.shape.shape, generator=seeded(3))
    codes.appearance[:] = 2 * torch.randn(codes.appearance.shape, generator=seeded(4))
    renderer, judge = FaceRenderer(model, 112), load_judge("dlib")
    with torch.no_grad():
        first = renderer(codes)
        people = judge.embed(*with_margin(first.over(torch.full_like(first.image, 0.5)),
                                          first.landmarks))  # fmt: skip
        codes.expression[:] = torch.randn(codes.expression.shape, generator=seeded(5))
        again = renderer(codes)
        found = Recognition(judge, people)
        right = found(again, again.landmarks, torch.arange(3))
        wrong = found(again, again.landmarks, torch.tensor([1, 2, 0]))
    assert right.mean() < np.log(3) < wrong.mean()


def test_mofa_may_be_compared_at_another_size(tiny_model):
    """Pictures are averaged; landmarks keep their share of the picture."""
    torch.manual_seed(0)
    mofa = MoFA(tiny_model, size=64).eval()
    images = torch.rand(2, 3, 64, 64)
    skin = (torch.rand(2, 64, 64) > 0.5).float()
    marks = 64 * torch.rand(2, 68, 2)
    terms = MoFAObjective(mofa, LossWeights(), side=32)(Batch(images, marks, skin, None))

    drawn = FaceRenderer(tiny_model, 32)(mofa.encode(images))
    small = images.unflatten(2, (32, 2)).unflatten(4, (32, 2)).mean((3, 5))
    bare = skin.unflatten(1, (32, 2)).unflatten(3, (32, 2)).mean((2, 4))
    torch.testing.assert_close(terms["photometric"], photometric(drawn, small, bare).mean())
    expected = 64 * landmark(drawn.landmarks, marks / 2, 32).mean()
    torch.testing.assert_close(terms["landmark_px"], expected)


def test_the_term_is_added_with_its_weight(tiny_model):
    torch.manual_seed(0)
    mofa = MoFA(tiny_model, size=32).eval()
    marks = five_points(mofa(torch.rand(3, 3, 32, 32)).landmarks).detach()
    batch = Batch(torch.rand(3, 3, 32, 32), marks, torch.ones(3, 32, 32), torch.arange(3))
    recognition = Recognition(Colourist(), torch.rand(3, 3))

    def terms(weight):
        weights = LossWeights(recognition=weight)
        return MoFAObjective(mofa, weights, recognition=recognition)(batch)

    none, some = terms(0.0), terms(0.3)
    torch.testing.assert_close(some["loss"] - none["loss"], 0.3 * some["recognition"])

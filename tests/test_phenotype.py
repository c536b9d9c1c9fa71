"""Who people are, and how much of each blend shape they have: against scipy and against anny."""

import numpy as np
import pytest
import torch
from scipy.interpolate import interp1d

from mofa_lib.studio.phenotype import OLD, YOUNG, Phenotype, closeness


def test_closeness_is_linear_between_the_properties_of_a_line():
    """Against scipy's interpolation of unit vectors."""
    ages = interp1d(np.linspace(-1 / 3, 1, 5), np.eye(5), axis=0)
    weights = interp1d([0, 0.5, 1], np.eye(3), axis=0)
    people = [Phenotype(gender=0.9, years=years, weight=w) for years, w in ((18, 0), (40, 0.3))]
    found = closeness(people)
    assert found.shape == (2, 26)
    for row, person in zip(found, people, strict=True):
        age = 2 / 3 + (person.years - YOUNG) / (OLD - YOUNG) / 3
        if person.years < YOUNG:
            age = 2 / 3 - (YOUNG - person.years) / 100
        np.testing.assert_allclose(row[3:5], [0.9, 0.1], atol=1e-6)  # male, female
        np.testing.assert_allclose(row[5:10], ages(age), atol=1e-6)
        np.testing.assert_allclose(row[13:16], weights(person.weight), atol=1e-6)


@pytest.mark.slow
def test_the_properties_are_those_of_anny():
    """Its own coefficients for the same people."""
    anny = pytest.importorskip("anny")
    head = anny.Anny(rig="makehuman-head", topology="head-notongue", phenotypes="all")
    rng = np.random.default_rng(0)
    people = [Phenotype.draw(rng) for _ in range(4)]
    line = [2 / 3 + (p.years - YOUNG) / (OLD - YOUNG) / 3 for p in people]
    age = [a if p.years >= YOUNG else 2 / 3 - (YOUNG - p.years) / 100
           for a, p in zip(line, people, strict=True)]  # fmt: skip
    told = {"age": age, "gender": [1 - p.gender for p in people]}  # there 0 is male
    for name in ("muscle", "weight", "height", "proportions", "african", "asian", "caucasian"):
        told[name] = [getattr(person, name) for person in people]
    expected = head.get_phenotype_blendshape_coefficients(
        **{name: torch.tensor(values).double() for name, values in told.items()}
    ).float()
    corners = head.stacked_phenotype_blend_shapes_mask.float()
    weights = (closeness(people)[:, None] * corners + 1 - corners).prod(2)
    found = weights @ head.phenotype_blendshape_projection.float()
    torch.testing.assert_close(found, expected[:, : found.shape[1]], atol=1e-5, rtol=1e-4)


def test_adults_of_both_sexes_and_all_ages():
    rng = np.random.default_rng(1)
    people = [Phenotype.draw(rng) for _ in range(400)]
    men = np.array([person.male for person in people])
    assert 0.4 < men.mean() < 0.6
    years = np.array([person.years for person in people])
    assert 18 <= years.min() < 25 and 75 < years.max() <= 80
    for person in people:
        assert person.african + person.asian + person.caucasian == pytest.approx(1)
        assert abs(person.gender - person.male) < 0.5

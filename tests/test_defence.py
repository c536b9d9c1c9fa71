"""Gaussian noise and the share of an attack that a defence undoes."""

import pytest
import torch
from scipy.stats import kstest

from mofa_lib import FaceCode
from mofa_lib.defence import gaussian_noise, recovery
from mofa_lib.face_code import GROUPS


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_noise_is_gaussian_with_deviation_alpha():
    images = torch.full((2, 3, 40, 40), 0.5)
    noise = (gaussian_noise(images, 0.05, seeded()) - images).flatten().numpy()
    assert kstest(noise / 0.05, "norm").pvalue > 0.01


def test_noisy_pictures_are_clipped():
    images = torch.rand(2, 3, 16, 16, generator=seeded())
    noisy = gaussian_noise(images, 1.0, seeded(1))
    assert noisy.min() == 0 and noisy.max() == 1


def test_a_seed_is_a_noise_and_no_noise_is_none():
    images = torch.rand(2, 3, 8, 8, generator=seeded())
    assert gaussian_noise(images, 0.1, seeded(1)).equal(gaussian_noise(images, 0.1, seeded(1)))
    assert not gaussian_noise(images, 0.1, seeded(1)).equal(gaussian_noise(images, 0.1, seeded(2)))
    assert gaussian_noise(images, 0.0, seeded()).equal(images)


def test_a_negative_alpha_is_refused():
    with pytest.raises(ValueError, match="needs α ≥ 0, got -0.1"):
        gaussian_noise(torch.zeros(1, 3, 4, 4), -0.1, seeded())


def test_the_generator_stays_on_the_cpu(fake_gpu):
    with fake_gpu.mode:
        assert (
            gaussian_noise(
                torch.rand(2, 3, 4, 4, device="meta"), 0.1, torch.Generator()
            ).device.type
            == "meta"
        )


@pytest.mark.parametrize(("left", "share"), [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0), (1.5, -0.5)])
def test_recovery_is_the_share_undone(tiny_model, left, share):
    random = seeded(3)
    clean = FaceCode.from_vector(torch.randn(4, 42, generator=random), tiny_model)
    harm = torch.randn(4, 42, generator=random)
    attacked = FaceCode.from_vector(clean.to_vector() + harm, tiny_model)
    defended = FaceCode.from_vector(clean.to_vector() - left * harm, tiny_model)
    result = recovery(clean, attacked, defended)
    assert list(result) == list(GROUPS)
    for group, values in result.items():
        torch.testing.assert_close(values, torch.full((4,), share), atol=1e-4, rtol=0, msg=group)


def test_what_no_attack_has_moved_has_no_recovery(tiny_model):
    clean = FaceCode.mean(tiny_model)
    attacked = clean.with_parts(shape=clean.shape + 1)
    result = recovery(clean, attacked, clean)
    assert result["shape"].tolist() == [1.0]
    assert all(result[group].isnan().all() for group in GROUPS if group != "shape")


def test_recovery_looks_at_each_group_alone(tiny_model):
    clean = FaceCode.mean(tiny_model)
    attacked = FaceCode.from_vector(torch.ones(1, 42), tiny_model)
    result = recovery(clean, attacked, attacked.with_parts(rotation=clean.rotation))
    assert {group: float(value) for group, value in result.items()} == {
        g: float(g == "rotation") for g in GROUPS
    }

"""Lamps against Lambert and Blinn in loops, light against its expansion, and a camera's faults."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from mofa_lib.lighting import irradiance, sphere_points
from mofa_lib.studio.light import GAMMA, LAMPS, Light
from mofa_lib.studio.scene import background, camera_faults


def rng(*seed) -> np.random.Generator:
    return np.random.default_rng([11, *seed])


def test_light_on_a_surface_is_lambert_s():
    light, normals = (
        Light.stack([Light.draw(rng(0)), Light.draw(rng(1))]),
        sphere_points(20).expand(2, -1, -1),
    )
    open_sky = torch.rand(2, 20, 1, generator=torch.Generator().manual_seed(0))
    found = light.irradiance(normals.mT, open_sky.mT).mT
    for b in range(2):
        for p in range(20):
            sky = float(open_sky[b, p])
            lit = sum(
                max(0.0, float(normals[b, p] @ light.directions[b, k])) * light.lamps[b, k]
                for k in range(LAMPS)
            )
            torch.testing.assert_close(
                found[b, p], sky * (light.sky[b] + (0.35 + 0.65 * sky) * lit)
            )


def test_highlights_lie_between_lamp_and_camera_and_are_sharp_in_the_eyes():
    light = replace(Light.draw(rng(2)), gloss=torch.ones(1), lamps=torch.ones(1, LAMPS, 3))
    normals = sphere_points(4000)[None]
    skin, eye = (
        light.highlights(normals.mT, torch.full((1, 1, 4000), shine))[0, 0] for shine in (1.0, 3.0)
    )
    halfway = light.directions[0, 0] + torch.tensor([0.0, 0.0, 1.0])
    halfway /= halfway.norm()
    for shown in (skin, eye / 3):
        assert shown.max() == pytest.approx(1, abs=0.05)
        assert normals[0, shown.argmax()] @ halfway > 0.999
    exponent = float(light.sharpness)
    torch.testing.assert_close(
        skin, (normals[0] @ halfway).clamp(min=1e-4) ** exponent, atol=1e-4, rtol=1e-3
    )
    assert (eye / 3 > 0.5).sum() < (skin > 0.5).sum()


def test_lamps_are_far_away_in_known_directions_and_expose_the_face():
    for seed in range(30):
        light = Light.draw(rng(3, seed))
        torch.testing.assert_close(light.directions.norm(dim=2), torch.ones(1, LAMPS))
        assert 0.25 < light.irradiance(torch.tensor([[[0.0], [0], [1]]])).mean() < 3
        assert (light.lamps >= 0).all() and light.lamps[0, 0].min() > 0


def test_even_light_is_the_mean_face_s():
    assert Light.even().harmonics().abs().max() < 1e-5  # white ambient light of 1 and nothing else


def test_harmonics_of_a_light_are_the_nearest():
    """No other coefficients come nearer to the light in pixel values."""
    light, normals = Light.draw(rng(4)), sphere_points(3000)
    true = light.irradiance(normals.T[None]).mT ** (1 / GAMMA)
    best = light.harmonics()

    def misfit(coefficients):
        return (irradiance(normals[None], coefficients) - true).square().mean()

    for seed in range(5):
        other = best + 0.02 * torch.randn(best.shape, generator=torch.Generator().manual_seed(seed))
        assert misfit(other) > misfit(best)
    assert misfit(best) < 0.05 * misfit(torch.zeros_like(best))


def test_backgrounds_are_pictures():
    pictures = [background(24, rng(5, k)) for k in range(6)]
    for picture in pictures:
        assert picture.shape == (3, 24, 24) and 0 <= picture.min() and picture.max() <= 1
    assert np.std([float(p.mean()) for p in pictures]) > 0.05
    assert torch.equal(pictures[0], background(24, rng(5, 0)))


def test_a_camera_makes_eight_bits_near_the_picture():
    for seed in range(8):
        picture = background(32, rng(7, seed))
        pixels = camera_faults(picture, rng(8, seed))
        assert pixels.shape == (3, 32, 32) and pixels.dtype == torch.uint8
        assert 0 < (pixels.float() / 255 - picture).abs().mean() < 0.25


def test_most_photographs_go_through_jpeg(monkeypatch):
    used, save = [], Image.Image.save
    monkeypatch.setattr(
        Image.Image, "save", lambda *a, **k: (used.append(k["quality"]), save(*a, **k))
    )
    for seed in range(60):
        camera_faults(torch.full((3, 8, 8), 0.5), rng(9, seed))
    assert 22 < len(used) < 50 and 60 <= min(used) and max(used) <= 97

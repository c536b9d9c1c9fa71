"""Spherical harmonics against scipy, irradiance against an integral over the sphere, normals
against a loop, sRGB against skimage.
"""

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y
from skimage.color import xyz2rgb

from mofa_lib.lighting import (
    encode_srgb,
    irradiance,
    project_irradiance,
    sphere_points,
    spherical_harmonics,
)
from mofa_lib.mesh import vertex_normals

ORDER = [(n, m) for n in range(3) for m in range(-n, n + 1)]


def quadrature(polar: int = 16, azimuth: int = 24):
    """Directions and weights that integrate low polynomials over the sphere exactly."""
    z, weight = np.polynomial.legendre.leggauss(polar)
    phi = 2 * np.pi * np.arange(azimuth) / azimuth
    z, phi = (a.ravel() for a in np.meshgrid(z, phi, indexing="ij"))
    r = np.sqrt(1 - z**2)
    return np.stack([r * np.cos(phi), r * np.sin(phi), z], 1), np.repeat(
        weight, azimuth
    ) * 2 * np.pi / azimuth


def real_harmonic(n: int, m: int, directions: np.ndarray) -> np.ndarray:
    """From scipy's complex ones, whose sign (−1)^m is taken out again."""
    polar, azimuth = np.arccos(directions[:, 2]), np.arctan2(directions[:, 1], directions[:, 0])
    value = sph_harm_y(n, abs(m), polar, azimuth)
    if m == 0:
        return value.real
    return np.sqrt(2) * (-1) ** m * (value.real if m > 0 else value.imag)


@pytest.mark.parametrize(("index", "n", "m"), [(i, n, m) for i, (n, m) in enumerate(ORDER)])
def test_harmonics_are_scipy_s(index, n, m):
    directions, _ = quadrature()
    found = spherical_harmonics(torch.from_numpy(directions))[:, index]
    np.testing.assert_allclose(found, real_harmonic(n, m, directions), atol=1e-12)


def test_harmonics_are_orthonormal():
    directions, weights = quadrature()
    found = spherical_harmonics(torch.from_numpy(directions)).numpy()
    np.testing.assert_allclose(found.T @ (weights[:, None] * found), np.eye(9), atol=1e-12)


def test_irradiance_is_the_integral_of_light_and_cosine():
    """Light Σ L Y falls on a surface as Σ A L Y with Lambert's A = π, 2π/3, π/4, beside the ambient
    light of 1.
    """
    rng = np.random.default_rng(0)
    light = rng.normal(size=(3, 9))
    normals = rng.normal(size=(5, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    directions, weights = quadrature(200, 400)
    arriving = np.stack([real_harmonic(n, m, directions) for n, m in ORDER], 1) @ light.T
    expected = 1 + np.clip(normals @ directions.T, 0, None) @ (weights[:, None] * arriving)
    lambert = np.pi * np.array([1, *[2 / 3] * 3, *[1 / 4] * 5])
    found = irradiance(torch.from_numpy(normals)[None], torch.from_numpy(lambert * light)[None])[0]
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_no_coefficients_are_white_ambient_light():
    normals = torch.nn.functional.normalize(torch.randn(2, 4, 3), dim=-1)
    assert (irradiance(normals, torch.zeros(2, 3, 9)) == 1).all()


def test_coefficients_are_refused_unless_nine(unchecked):
    with pytest.raises(
        ValueError, match=r"nine coefficients a channel, \(B, 3, 9\); got \(1, 3, 4\)"
    ):
        irradiance(torch.zeros(1, 2, 3), torch.zeros(1, 3, 4))


def test_normals_of_a_sphere_point_outward(sphere):
    points, faces = sphere
    centre = torch.tensor([3.0, -1.0, 2.0]).double()
    found = vertex_normals(torch.stack([7 * points + centre, points]), faces)
    assert (found * points).sum(-1).min() > np.cos(np.radians(3))
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(2, len(points)).double())


def test_normals_are_the_area_weighted_mean():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(6, 3))
    faces = np.array([[0, 1, 2], [2, 1, 3], [3, 4, 2], [0, 2, 4]])
    expected = np.zeros((6, 3))
    for a, b, c in faces:
        for corner in (a, b, c):
            expected[corner] += np.cross(points[b] - points[a], points[c] - points[a]) / 2
    length = np.linalg.norm(expected, axis=1, keepdims=True)
    expected = np.divide(expected, length, where=length > 0, out=np.zeros_like(expected))
    found = vertex_normals(torch.from_numpy(points)[None], torch.from_numpy(faces))[0]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert not found[5].any()  # belongs to no triangle


def test_gradients_of_normals_and_light():
    rng = np.random.default_rng(2)
    faces = torch.tensor([[0, 1, 2], [2, 1, 3]])
    points = torch.from_numpy(rng.normal(size=(1, 4, 3))).requires_grad_()
    light = torch.from_numpy(rng.normal(size=(1, 3, 9))).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda p, g: irradiance(vertex_normals(p, faces), g), (points, light)
    )


def test_a_distant_lamp_projects_to_the_known_coefficients():
    """Clamped cosine of a lamp in direction d: A_n Y_nm(d) with A = π, 2π/3, π/4 (Ramamoorthi and
    Hanrahan 2001).
    """
    lamp = torch.nn.functional.normalize(
        torch.tensor([[0.3, 0.5, 0.8]], dtype=torch.float64), dim=1
    )
    factors = np.pi * np.array([1] + [2 / 3] * 3 + [1 / 4] * 5)
    expected = torch.from_numpy(factors) * spherical_harmonics(lamp)[0]
    found = project_irradiance(
        lambda n: 1 + (n.double() @ lamp.T).clamp(min=0).expand(-1, 3)[None].float()
    )
    torch.testing.assert_close(found[0].double(), expected.expand(3, -1), atol=3e-3, rtol=0)


def test_projecting_harmonic_light_gives_its_coefficients():
    coefficients = torch.randn(2, 3, 9, generator=torch.Generator().manual_seed(0))
    found = project_irradiance(lambda n: irradiance(n.expand(2, -1, -1), coefficients))
    torch.testing.assert_close(found, coefficients, atol=1e-4, rtol=1e-4)


def test_points_on_the_sphere_are_even():
    points = sphere_points(2000)
    torch.testing.assert_close(points.norm(dim=1), torch.ones(2000))
    torch.testing.assert_close(points.mean(0), torch.zeros(3), atol=2e-3, rtol=0)
    torch.testing.assert_close(points.T @ points / 2000, torch.eye(3) / 3, atol=2e-3, rtol=0)


def test_srgb_is_skimage_s():
    linear = np.linspace(0, 1, 101)
    white = np.array(
        [0.95047, 1.0, 1.08883]
    )  # grey light of D65 is this colour times the linear value
    expected = xyz2rgb(linear[:, None] * white)[:, 1]
    np.testing.assert_allclose(encode_srgb(linear), expected, atol=1e-3)


def test_srgb_at_its_ends():
    np.testing.assert_allclose(encode_srgb(np.array([0.0, 1.0])), [0, 1], atol=1e-12)

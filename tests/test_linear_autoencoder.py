"""Principal components: against NumPy's exact decomposition, and what makes them the best linear
autoencoder.
"""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mofa_lib.linear_autoencoder import LinearAutoencoder


class Album:
    """Smooth random pictures whose variances fall off, as those of faces do."""

    size = 112

    def __init__(self, count: int, seed: int = 0):
        generator = torch.Generator().manual_seed(seed)
        coarse = 0.5 + 0.15 * torch.randn(count, 3, 7, 7, generator=generator)
        self.images = F.interpolate(coarse, 112, mode="bicubic").clamp(0, 1)
        self.identities, self.landmarks = torch.arange(count), torch.zeros(count, 5, 2)

    def __len__(self):
        return len(self.images)

    def batch(self, indices):
        return self.images[indices]

    def skin(self, indices):
        return torch.ones_like(self.images[indices][:, 0])


@pytest.fixture(scope="module")
def album():
    return Album(120)


@pytest.fixture
def fitted(album):
    torch.manual_seed(0)
    return LinearAutoencoder(112, latent=20).fit(album)


def small(images):
    return F.avg_pool2d(images, 2).flatten(1).double().numpy()


def exact_error(album, latent):
    """Root mean square that an exact decomposition of the small pictures leaves."""
    pictures = small(album.images)
    values = np.linalg.svd(pictures - pictures.mean(0), compute_uv=False)
    return np.sqrt((values[latent:] ** 2).sum() / pictures.size)


def test_no_linear_autoencoder_is_better(album, fitted):
    codes = fitted.encode(album.images) @ fitted.components
    left = small(album.images) - (fitted.mean.flatten() + codes).double().numpy()
    assert (
        exact_error(album, 20) * 0.9999 < np.sqrt((left**2).mean()) < exact_error(album, 20) * 1.01
    )


def test_components_are_orthonormal_and_in_order(album, fitted):
    torch.testing.assert_close(
        fitted.components @ fitted.components.T, torch.eye(20), atol=1e-4, rtol=0
    )
    variances = fitted.encode(album.images).var(0)
    assert (variances.diff() < 1e-3 * variances[0]).all() and variances[0] > 1.5 * variances[-1]


def test_codes_are_centred_and_drawn_pictures_have_the_same_code(album, fitted):
    codes = fitted.encode(album.images)
    torch.testing.assert_close(codes.mean(0), torch.zeros(20), atol=1e-3, rtol=0)
    inside = fitted.mean + (codes[:4] @ fitted.components).unflatten(1, (3, 56, 56))
    again = fitted.encode(inside.clamp(0, 1).repeat_interleave(2, 2).repeat_interleave(2, 3))
    torch.testing.assert_close(again, codes[:4], atol=2e-2, rtol=1e-2)


def test_noise_is_mostly_lost(album, fitted):
    """A random direction of length 1 keeps the share latent / pixels of its energy."""
    noise = torch.randn(8, 3, 112, 112, generator=torch.Generator().manual_seed(1)) * 0.02
    moved = fitted.encode((album.images[:8] + noise).clamp(0, 1)) - fitted.encode(album.images[:8])
    kept = (
        4 * moved.square().sum() / noise.square().sum()
    )  # a pixel of the small picture stands for four
    assert float(kept) == pytest.approx(20 / 37632, rel=0.5)


def test_gradients_reach_the_picture(album, fitted):
    images = album.images[:2].clone().requires_grad_()
    fitted(images).sum().backward()
    assert images.grad.abs().sum() > 0


def test_sizes_and_pictures_that_do_not_fit(album):
    with pytest.raises(ValueError, match="multiple of 56, got 128"):
        LinearAutoencoder(128)
    with pytest.raises(ValueError, match="at least as many pictures, got 120"):
        LinearAutoencoder(112, latent=121).fit(album)
    with pytest.raises(ValueError, match="lie in"):
        LinearAutoencoder(112, latent=2)(album.images[:2] * 255)
    assert LinearAutoencoder(224, latent=2)(torch.rand(1, 3, 224, 224)).shape == (1, 3, 224, 224)

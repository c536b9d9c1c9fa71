"""The best autoencoder that is linear: it needs no training, since its weights have a closed form. See chapter 8."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from mofa_lib.autoencoder import check_images
from mofa_lib.batches import Faces

LATENT = 1024  # as many numbers as Table 1's bottleneck
SIDE = 56  # pixels; with 1024 components, finer pixels add weights and hardly any detail


class LinearAutoencoder(nn.Module):
    """Projects a picture onto the principal components of faces, at 56 × 56 pixels, and enlarges the result.

    No other linear map through as few numbers has a smaller squared error on the pictures it was fitted to.

    Args:
        size: image side in pixels, a multiple of 56.
        latent: number of components.
    Source: Eckart and Young 1936; Baldi and Hornik 1989; derived in chapter 8.
    """

    def __init__(self, size: int = 112, latent: int = LATENT):
        super().__init__()
        if size % SIDE:
            raise ValueError(f"The side of the pictures must be a multiple of {SIDE}, got {size}.")
        self.size = size
        self.register_buffer("mean", torch.zeros(3, SIDE, SIDE))
        self.register_buffer("components", torch.zeros(latent, 3 * SIDE * SIDE))

    def encode(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B K"]:
        """h(I): the coordinates along the components."""
        check_images(images, self.size)
        return (self._small(images) - self.mean).flatten(1) @ self.components.T

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """g(h(I)): the mean picture plus the components, as far as the picture has them."""
        small = self.mean + (self.encode(images) @ self.components).unflatten(1, self.mean.shape)
        return F.interpolate(small, (self.size, self.size), mode="bicubic").clamp(0, 1)

    def _small(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 56 56"]:
        return F.avg_pool2d(images, self.size // SIDE)

    @torch.no_grad()
    def fit(self, faces: Faces) -> "LinearAutoencoder":
        """Set mean and components from pictures, largest variance first; return the autoencoder.

        The components come from a randomised decomposition (Halko et al. 2011), so torch's random state has a say in
        the last digits.

        Raises:
            ValueError: there are fewer pictures than components.
        """
        latent = len(self.components)
        if len(faces) < latent:
            raise ValueError(f"{latent} components need at least as many pictures, got {len(faces)}.")
        starts = tqdm(range(0, len(faces), 500), desc="reading faces", disable=len(faces) < 2000)
        pictures = torch.cat([self._small(faces.batch(slice(i, i + 500))).flatten(1) for i in starts])
        mean = pictures.mean(0)
        more = min(latent + latent // 4, *pictures.shape)  # a few extra columns sharpen the last wanted ones
        _, _, components = torch.svd_lowrank(pictures.sub_(mean), q=more, niter=4)
        self.mean.copy_(mean.view_as(self.mean))
        self.components.copy_(components[:, :latent].T)
        return self

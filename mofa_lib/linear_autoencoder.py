"""The best autoencoder that is linear: it needs no training, for its weights have a closed form.

See chapter 8.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from mofa_lib.faces import Faces, check_images

LATENT = 1024  # as many numbers as Table 1's bottleneck
SIDE = 56  # pixels; with 1024 components, finer pixels add weights and hardly any detail
BATCH = 500  # pictures that are read at a time


class LinearAutoencoder(nn.Module):
    """Projects a picture onto the principal components of faces, at 56 × 56 pixels.

    The result is enlarged again. No other linear map through as few numbers has a smaller squared
    error on the pictures it was fitted to.

    Args:
        size: image side in pixels, a multiple of 56.
        latent: number of components.
    Source: Eckart and Young 1936; Baldi and Hornik 1989; derived in chapter 8.
    """

    def __init__(self, size: int = 224, latent: int = LATENT):
        super().__init__()
        if size % SIDE:
            raise ValueError(f"The side of the pictures must be a multiple of {SIDE}, got {size}.")
        self.size = size
        self.register_buffer("mean", torch.zeros(3, SIDE, SIDE))
        self.register_buffer("components", torch.zeros(latent, 3 * SIDE * SIDE))

    def encode(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B K"]:
        """h(I): the coordinates along the components."""
        check_images(images, self.size)
        small = self._small(images.to(self.mean.dtype))  # (B, 3, 56, 56)
        return (small - self.mean).flatten(1) @ self.components.T

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """g(h(I)): the mean picture plus the components, as far as the picture has them."""
        faces = self.encode(images) @ self.components  # (B, 3 · 56 · 56)
        small = self.mean + faces.unflatten(1, self.mean.shape)  # (B, 3, 56, 56)
        return F.interpolate(small, (self.size, self.size), mode="bicubic").clamp(0, 1)

    def _small(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 56 56"]:
        return F.avg_pool2d(images, self.size // SIDE)

    @torch.no_grad()
    def fit(self, faces: Faces) -> "LinearAutoencoder":
        """Set mean and components from pictures, largest variance first; return the autoencoder.

        The components come from a randomised decomposition (Halko et al. 2011), so torch's random
        state has a say in the last digits.

        Raises:
            ValueError: there are fewer pictures than components.
        """
        latent, count = len(self.components), len(faces)
        if count < latent:
            raise ValueError(f"{latent} components need at least as many pictures, got {count}.")

        batches = []
        for start in tqdm(range(0, count, BATCH), desc="reading faces", disable=count < 2000):
            batch = self._small(faces.batch(slice(start, start + BATCH)))
            batches.append(batch.flatten(1))
        pictures = torch.cat(batches)  # (N, 3 · 56 · 56)
        mean = pictures.mean(0)

        # A few extra columns sharpen the last wanted ones.
        more = min(latent + latent // 4, *pictures.shape)
        _, _, components = torch.svd_lowrank(pictures.sub_(mean), q=more, niter=4)
        self.mean.copy_(mean.view_as(self.mean))
        self.components.copy_(components[:, :latent].T)
        return self

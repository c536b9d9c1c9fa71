"""Small encoders of 3 × 5 × 5 pixels whose best attack is known or can be searched for, and what
the tests of attacks need beside them.
"""

import torch


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_images(
    count: int = 6, seed: int = 0, low: float = 0.2, high: float = 0.8
) -> torch.Tensor:
    return low + (high - low) * torch.rand(count, 3, 5, 5, generator=seeded(seed))


MATRIX = torch.randn(75, 7, generator=seeded(1)) / 75**0.5
FIRST, SECOND = torch.randn(75, 40, generator=seeded(2)), torch.randn(40, 7, generator=seeded(3))


def linear(images: torch.Tensor) -> torch.Tensor:
    """A linear encoder into 7 numbers."""
    return images.flatten(1) @ MATRIX.to(images)


def curved(images: torch.Tensor) -> torch.Tensor:
    """A small random network: its gradient turns from place to place."""
    return torch.sin(images.flatten(1) @ FIRST.to(images)) @ SECOND.to(images)


def l1(a, b):
    return (a - b).abs().sum(1)


def l2(a, b):
    return (a - b).square().sum(1)

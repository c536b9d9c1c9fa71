"""A few faces of noise, where a test needs a data set."""

import torch


class FewFaces:
    """A data set of noise, like the real ones."""

    recipe = "noise"

    def __init__(self, count=6, size=16, points=68):
        random = torch.Generator().manual_seed(2)
        self.size, self.identities = size, torch.arange(count) // 2
        self.landmarks = size * torch.rand(count, points, 2, generator=random)
        self.images = torch.rand(count, 3, size, size, generator=random)
        self.bare = (torch.rand(count, size, size, generator=random) < 0.5).float()

    def __len__(self):
        return len(self.identities)

    def batch(self, indices):
        return self.images[indices]

    def skin(self, indices):
        return self.bare[indices]

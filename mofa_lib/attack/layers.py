"""A distance that every layer of a network takes part in. Derived in the page on more attackers."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class EveryLayer:
    """What some layers of a network make of pictures, side by side, each in a unit of its own.

    As `encode` of an attack, with `distance`, it pulls at each layer. So the attack still knows
    where to go if a layer passes on next to nothing of the gradient that comes from behind it.

    Args:
        network: is called with pictures.
        layers: modules inside of it, each called once; their outputs count.
        images: some pictures. A layer's unit is how far two of them are apart in it, on average.
    Raises:
        ValueError: there are no layers, or fewer than two pictures, or all are alike to a layer.
    Source: the diagnosis is that of Krishnamurthy Ramanaik et al. 2025 (arXiv:2505.03646).
    """

    def __init__(
        self,
        network: Callable[[Tensor], object],
        layers: Sequence[nn.Module],
        images: Float[Tensor, "N 3 H W"],
    ):
        if not layers or len(images) < 2:
            raise ValueError(
                f"Units need layers and two pictures or more, got {len(layers)} and {len(images)}."
            )
        self.network = network
        self.layers = list(layers)
        with torch.no_grad():
            found = self._outputs(images)
            self.units = [nn.functional.pdist(x).mean() for x in found]
        self.sizes = [x.shape[1] for x in found]
        for number, unit in enumerate(self.units):
            if not unit > 0:
                raise ValueError(f"Layer {number} has the same output for all of the pictures.")

    def __call__(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B M"]:
        """The outputs of all layers, in their units, one after the other."""
        found = self._outputs(images)
        return torch.cat([x / unit for x, unit in zip(found, self.units, strict=True)], 1)

    def distance(self, a: Float[Tensor, "B M"], b: Float[Tensor, "B M"]) -> Float[Tensor, " B"]:
        """The mean over the layers; about 1 for two strangers."""
        parts = (a - b).split(self.sizes, 1)
        return torch.stack([part.norm(dim=1) for part in parts]).mean(0)

    def _outputs(self, images: Tensor) -> list[Float[Tensor, "B _"]]:
        """What each layer makes of pictures."""
        found = {}

        def keep(layer: nn.Module, _, output: Tensor) -> None:
            found[layer] = output.float().flatten(1)

        hooks = [layer.register_forward_hook(keep) for layer in self.layers]
        try:
            self.network(images)
        finally:
            for hook in hooks:
                hook.remove()
        return [found[layer] for layer in self.layers]

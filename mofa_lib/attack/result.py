"""What an attack leaves: the pictures, what was added, and how far that has led."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from mofa_lib.attack.gradient_sign import quantize
from mofa_lib.displays import counted, html_table, strips


@dataclass(frozen=True)
class Attacked:
    """What an attack found.

    Attributes:
        images: adversarial pictures in [0, 1].
        perturbation: what was added, after clamping to [0, 1].
        distance: to the target (or, of an untargeted attack, to the original), of the adversarial
            pictures.
        saved_distance: the same for the pictures as a file keeps them, with 8 bits.
        course: smallest objective so far, before the first step and after each one: the distance
            (of an untargeted attack minus the distance) plus the penalty. After an early end its
            last value is repeated.
        precision: in which the pictures were searched for, and the course computed: bfloat16, or
            that of the pictures. The two distances never are in bfloat16.
    """

    images: Float[Tensor, "B 3 H W"]
    perturbation: Float[Tensor, "B 3 H W"]
    distance: Float[Tensor, " B"]
    saved_distance: Float[Tensor, " B"]
    course: Float[Tensor, "S B"]
    precision: str

    def _repr_html_(self) -> str:
        """The first pictures before and after, what was added, and how far that has led."""
        change = self.perturbation.detach().float().abs()
        largest = float(change.max()) if len(change) else 0.0
        times = round(1 / max(largest, 1 / 255))  # the largest change is drawn white
        pictures = {
            "original": self.images - self.perturbation,
            "adversarial": self.images,
            f"|δ| × {times}": times * change,
        }
        return html_table(self._caption(), strips(pictures))

    def _caption(self) -> str:
        """What was changed and how far that has led, in words."""
        count = counted(len(self.images), "picture")
        if not len(self.images):
            return f"Attacked: {count}"
        linf = _grey_levels(self.perturbation)
        linf_saved = _grey_levels(quantize(self.images) - (self.images - self.perturbation))
        first, last = _mean(self.course[0]), _mean(self.course[-1])
        return (
            f"Attacked: {count}, L∞ {linf:.3g}/255, saved {linf_saved:.3g}/255; "
            f"mean loss {first:.3g} → {last:.3g} in {counted(len(self.course) - 1, 'step')} "
            f"of {self.precision}; "
            f"mean distance once saved {_mean(self.saved_distance):.3g}"
        )


def _grey_levels(change: Tensor) -> float:
    """The largest change of any pixel value, L∞, in 1/255."""
    return 255 * float(change.detach().float().abs().max())


def _mean(values: Tensor) -> float:
    return float(values.detach().float().mean())

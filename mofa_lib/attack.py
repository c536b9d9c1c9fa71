"""The perturbation attack: a small change to a picture that moves its code to another face's. Derived in chapter 7."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from mofa_lib.face_code import GROUPS, FaceCode
from mofa_lib.morphable import MorphableModel

Code = TypeVar("Code", FaceCode, Tensor)

# λ of Eq. 1 (Teng 2021, section 4.1). The paper has no term for the translation: a weight for it can be given.
WEIGHTS = {"shape": 0.01, "expression": 0.01, "appearance": 1.0, "rotation": 0.05, "illumination": 1.5}
READINGS = ("unit_cap", "literal", "clip_after")


class CodeDistance:
    """Δ of Eq. 1: weighted mean absolute differences of the groups of two codes.

    Each group's term is λ · mean(σᵢ |Δᵢ|); σ is the column norm of the model's basis for shape, expression and
    appearance, and 1 for pose and light. Groups that the model does not have are skipped.

    Args:
        model: the face model behind the codes.
        weights: λ by group name; groups that are not named do not count.
        sigma: False sets every σ to 1 (an ablation).
    Raises:
        ValueError: a weight is negative or names no group, or there is none.
    Source: Teng 2021, Eq. 1; derived in chapter 7.
    """

    def __init__(self, model: MorphableModel, weights: Mapping[str, float] = WEIGHTS, sigma: bool = True):
        if not weights or min(weights.values()) < 0:
            raise ValueError(f"Eq. 1 needs weights, none of them negative, got {dict(weights)}.")
        unknown = set(weights) - set(GROUPS)
        if unknown:
            raise ValueError(f"No group of the code is called {sorted(unknown)[0]!r}: choose from {', '.join(GROUPS)}.")
        self.weights = dict(weights)
        self.sigma = {}
        if sigma:
            self.sigma = {group: getattr(model, f"{group}_sigma") for group in ("shape", "expression", "appearance")}

    def by_group(self, code: FaceCode) -> dict[str, Float[Tensor, "B _"]]:
        """λ · σ · code / n for each group: coordinates in which Δ is an L1 distance."""
        found = {}
        for group, weight in self.weights.items():
            part = getattr(code, group)
            if part.shape[1]:
                sigma = self.sigma.get(group)
                found[group] = (weight / part.shape[1]) * (part if sigma is None else part * sigma.to(part))
        return found

    def coordinates(self, code: FaceCode) -> Float[Tensor, "B N"]:
        """The same of all groups, one after the other."""
        return torch.cat(list(self.by_group(code).values()), 1)

    def terms(self, a: FaceCode, b: FaceCode) -> dict[str, Float[Tensor, " B"]]:
        """The weighted terms by group."""
        a, b = self.by_group(a), self.by_group(b)
        return {group: (a[group] - b[group]).abs().sum(1) for group in a}

    def __call__(self, a: FaceCode, b: FaceCode) -> Float[Tensor, " B"]:
        """The sum of the terms."""
        return sum(self.terms(a, b).values())


@dataclass(frozen=True)
class Attacked:
    """What an attack found.

    Attributes:
        images: adversarial pictures in [0, 1].
        perturbation: what was added, after clamping to [0, 1].
        distance: to the target (or, of an untargeted attack, to the original), at the best iterate.
        saved_distance: the same for the pictures as a file keeps them, with 8 bits.
        course: smallest objective so far, before the first step and after each one: the distance (of an untargeted
            attack minus the distance) plus the penalty. After an early end its last value is repeated.
    """

    images: Float[Tensor, "B 3 H W"]
    perturbation: Float[Tensor, "B 3 H W"]
    distance: Float[Tensor, " B"]
    saved_distance: Float[Tensor, " B"]
    course: Float[Tensor, "S B"]

    def _repr_html_(self) -> str:
        from mofa_lib.displays import of_attack  # which knows this class

        return of_attack(self)


class LatentAttack:
    """Algorithm 1 by projection: Adam on a bounded perturbation that takes a picture's code toward its target's.

    The perturbation is bound · u with u in [−1, 1]. After every step u is projected: to that box, and to where the
    picture stays in [0, 1]. A clip inside the graph would kill the gradient (chapter 7 shows how). The best iterate is
    kept. Without a target the code moves away from its own, starting at one random point of the box.

    Args:
        encode: maps images to codes; frozen, in eval mode. If it is random, the best iterate may be a lucky draw.
        distance: maps the codes of a batch and those of their targets to (B,).
        epsilon: ε. Under the default reading, the bound of the perturbation (L∞, pixel values in [0, 1]).
        steps: iterations; the paper takes 50.
        rate: Adam's learning rate, on u = d / cap; under "clip_after" on d. (The paper's 0.1 on d is five of its caps.)
        cap: U = −L of the paper; None is a cap of 1.
        reading: "unit_cap" (ε is the bound), "literal" ε · clip(d, ±cap), or "clip_after" clip(ε · d, ±cap).
        penalty: λ_pert, on the mean magnitude of the clipped d.
        goal: a distance with which one is content: a picture that is so near (untargeted: so far), before it is saved,
            stays as it is, and a batch ends early when all are. None goes on to the last step. Excludes a penalty.
        batch: pictures at a time; more of them are attacked one batch after the other.
    Raises:
        ValueError: an argument is out of range, or two do not go together.
    Source: Teng 2021, Algorithm 1; derived in chapter 7.
    """

    def __init__(
        self,
        encode: Callable[[Tensor], Code],
        distance: Callable[[Code, Code], Tensor],
        epsilon: float = 0.05,
        steps: int = 50,
        rate: float = 0.1,
        *,
        cap: float | None = None,
        reading: str = "unit_cap",
        penalty: float = 0.0,
        goal: float | None = None,
        batch: int = 50,
    ):
        if reading not in READINGS:
            raise ValueError(f"There is no reading {reading!r}: choose one of {', '.join(READINGS)}.")
        if (cap is None) != (reading == "unit_cap"):
            raise ValueError('The readings "literal" and "clip_after" need a cap, "unit_cap" has none.')
        if goal is not None and penalty:
            raise ValueError("A goal is a distance, so it cannot be combined with a penalty: give one of the two.")
        if epsilon < 0 or steps < 0 or rate <= 0 or batch < 1 or (cap is not None and cap <= 0):
            raise ValueError(
                "ε and steps must not be negative, rate, cap and batch positive: "
                f"{epsilon}, {steps}, {rate}, {cap}, {batch}."
            )
        self.encode, self.distance, self.steps, self.penalty = encode, distance, steps, penalty
        self.goal, self.batch = goal, batch
        self.epsilon, self.cap, self.reading = epsilon, cap, reading
        self.rate = rate
        if reading == "clip_after":  # Adam's step on d is a step of ε · rate on the picture, ε · rate / cap on u
            self.rate = rate * epsilon / cap

    @property
    def bound(self) -> float:
        """The largest change of any pixel value, L∞, on the scale [0, 1]."""
        if self.reading == "clip_after":
            return self.cap if self.epsilon else 0.0  # clip(0 · d) is 0
        return self.epsilon * (self.cap or 1)

    def __call__(self, images: Float[Tensor, "N 3 H W"], targets: Tensor | FaceCode | None = None) -> Attacked:
        """Attack pictures: each toward the target beside it or, without targets, away from its own code.

        Args:
            images: RGB in [0, 1].
            targets: as many pictures, or codes as `encode` gives them (not of four axes, which pictures have).
        Raises:
            ValueError: the images are no batch of pictures, or there are not as many targets, or of another size.
        """
        images = _checked(images)
        if targets is not None and (
            targets.shape != images.shape if _are_pictures(targets) else len(targets) != len(images)
        ):
            found = tuple(targets.shape) if _are_pictures(targets) else f"{len(targets)} codes"
            raise ValueError(f"Each picture needs its target, got {tuple(images.shape)} and {found}.")
        batches = [slice(i, i + self.batch) for i in range(0, len(images) or 1, self.batch)]
        bar = tqdm(batches, desc=f"attack, L∞ {255 * self.bound:.3g}/255", unit="batch", disable=len(batches) < 2)
        parts = [self._attack(images[some], None if targets is None else targets[some]) for some in bar]
        *rest, course = zip(*(vars(part).values() for part in parts), strict=True)
        return Attacked(*map(torch.cat, rest), torch.cat(course, 1))

    def _attack(self, images: Tensor, targets: Tensor | FaceCode | None) -> Attacked:
        """One batch."""
        sign, start = 1, torch.zeros_like(images)
        if targets is None:  # away from the own code, where the distance has no gradient: begin beside it
            sign, targets = -1, images
            noise = torch.rand(images.shape[1:], generator=torch.Generator().manual_seed(0))
            start = (2 * noise - 1).to(images).expand_as(images)
        with torch.no_grad():
            target = self.encode(targets) if _are_pictures(targets) else targets
        unit = max(self.bound, 1e-12)
        low, high = (-images / unit).clamp(min=-1), ((1 - images) / unit).clamp(max=1)
        u = start.clamp(low, high).requires_grad_()
        optimizer = torch.optim.Adam([u], lr=self.rate)
        best = torch.full_like(images[:, 0, 0, 0], torch.inf)
        best_images, best_distance, course = images.clone(), best.clone(), []
        reached = torch.zeros_like(best, dtype=torch.bool)
        for step in range(self.steps + 1):
            attacked = images + self.bound * u
            distance = self.distance(self.encode(attacked), target)
            objective = sign * distance + self.penalty * (self.cap or 1) * u.abs().mean((1, 2, 3))
            better = (objective.detach() < best) & ~reached
            best = torch.where(better, objective.detach(), best)
            best_distance = torch.where(better, distance.detach(), best_distance)
            best_images[better] = attacked.detach()[better].clamp(0, 1)
            course.append(best)
            if self.goal is not None:
                reached = sign * best_distance <= sign * self.goal
                if reached.all():
                    break
            if step < self.steps:
                (u.grad,) = torch.autograd.grad(objective.sum(), u)
                optimizer.step()
                u.data = u.data.clamp(low, high)
        course += [best] * (self.steps + 1 - len(course))
        with torch.no_grad():
            saved_distance = self.distance(self.encode(quantize(best_images)), target)
        return Attacked(best_images, best_images - images, best_distance, saved_distance, torch.stack(course))


def _checked(images: Tensor) -> Tensor:
    """A batch of pictures, without its graph."""
    images = images.detach()
    if images.ndim != 4:
        raise ValueError(f"An attack takes a batch of pictures (B, 3, H, W), got {tuple(images.shape)}.")
    low, high = (float(value) for value in images.aminmax()) if images.numel() else (0.0, 0.0)
    if not (low >= -1e-4 and high <= 1 + 1e-4):  # also catches NaN
        raise ValueError(f"The pictures of an attack must lie in [0, 1], got values from {low:.3g} to {high:.3g}.")
    return images


def _are_pictures(targets: Tensor | FaceCode) -> bool:
    return isinstance(targets, Tensor) and targets.ndim == 4


def pgd(
    loss: Callable[[Tensor], Float[Tensor, " B"]],
    images: Float[Tensor, "B 3 H W"],
    epsilon: float,
    steps: int = 10,
    rate: float | None = None,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B 3 H W"]:
    """Steps up the sign of the gradient of a loss, projected to the box of size ε around the picture and to [0, 1].

    Args:
        loss: maps images to (B,); it is increased. To approach a target, give minus a distance.
        images: RGB in [0, 1].
        epsilon: L∞ bound of the perturbation, on the scale [0, 1].
        steps: iterations.
        rate: length of a step; by default 2.5 ε / steps, with which every corner of the box can be reached.
        generator: draws the start from the box; None starts at the pictures.
    Returns:
        The last iterate. A loss that is flat at the pictures, as a distance to their own codes is, needs a generator.
    Raises:
        ValueError: ε is negative, there is no step, or the images are no batch of pictures.
    Source: Madry et al. 2018; derived in chapter 2.
    """
    if epsilon < 0 or steps < 1:
        raise ValueError(f"ε must not be negative and there must be a step, got ε {epsilon} and {steps} steps.")
    rate = 2.5 * epsilon / steps if rate is None else rate
    attacked = images = _checked(images)
    low, high = (images - epsilon).clamp(min=0), (images + epsilon).clamp(max=1)
    if generator is not None:
        drawn = torch.rand(images.shape, generator=generator, device=generator.device).to(images)
        attacked = torch.lerp(low, high, drawn)
    for _ in range(steps):
        attacked = attacked.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(attacked).sum(), attacked)
        attacked = (attacked.detach() + rate * gradient.sign()).clamp(low, high)
    return attacked


def fgsm(
    loss: Callable[[Tensor], Float[Tensor, " B"]], images: Float[Tensor, "B 3 H W"], epsilon: float
) -> Float[Tensor, "B 3 H W"]:
    """One step of length ε up the sign of the gradient of a loss, clamped to [0, 1]. Arguments as those of `pgd`.

    Source: Goodfellow et al. 2014; derived in chapter 2.
    """
    return pgd(loss, images, epsilon, steps=1, rate=epsilon)


def quantize(images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
    """Round to the 256 grey levels that a saved picture has."""
    return (255 * images).round() / 255

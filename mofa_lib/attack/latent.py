"""The perturbation attack: a small change to a picture that moves its code to another face's.

Derived in chapter 7.
"""

import warnings
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from mofa_lib.attack.best import Best
from mofa_lib.attack.gradient_sign import check_epsilon, quantize
from mofa_lib.attack.precision import PRECISIONS, Code, in_bfloat16, is_faster_in_bfloat16
from mofa_lib.attack.result import Attacked
from mofa_lib.attack.targets import are_pictures, checked, split_targets
from mofa_lib.face_code import FaceCode
from mofa_lib.inputs import whole

READINGS = ("unit_cap", "literal", "clip_after")


class LatentAttack:
    """Algorithm 1 by projection: Adam on a bounded perturbation that takes codes to their targets.

    The perturbation is bound · u with u in [−1, 1]. After every step u is projected: to that box,
    and to where the picture stays in [0, 1]. A clip inside the graph would kill the gradient
    (chapter 7 shows how). The best iterate is kept. Without a target the code moves away from its
    own, starting at one random point of the box.

    Args:
        encode: maps images to codes; frozen, in eval mode. If it is random, the best iterate may be
            a lucky draw.
        distance: maps the codes of a batch and those of their targets to (B,).
        epsilon: ε. Under the default reading, the bound of the perturbation (L∞, pixel values in
            [0, 1]).
        steps: iterations; the paper takes 50.
        rate: Adam's learning rate, on u = d / cap; under "clip_after" on d. (The paper's 0.1 on d
            is five of its caps.)
        cap: U = −L of the paper; None is a cap of 1.
        reading: "unit_cap" (ε is the bound), "literal" ε · clip(d, ±cap), or "clip_after" clip(ε ·
            d, ±cap).
        penalty: λ_pert, on the mean magnitude of the clipped d.
        goal: a distance with which one is content: a picture that is so near (untargeted: so far),
            before it is saved, stays as it is, and a batch ends early when all are. None goes on to
            the last step. Excludes a penalty.
        batch: pictures at a time; more of them are attacked one batch after the other.
        precision: in which `encode` computes while the attack searches; what it has found is judged
            without. "bfloat16" is autocast's, and excludes a goal; "float32" changes nothing;
            "auto" takes bfloat16 without a goal and on a CPU that is faster in it, and falls back
            with a warning where `encode` cannot.
    Raises:
        ValueError: an argument is out of range, or two do not go together.
    Examples:
        >>> import torch
        >>> from mofa_lib import CodeDistance, LatentAttack, load_pretrained
        >>> mofa = load_pretrained("cpu")
        >>> originals, targets = torch.rand(2, 1, 3, 224, 224).to(mofa.scales.device)
        >>> attack = LatentAttack(mofa.encode, CodeDistance(mofa.model), epsilon=0.05, steps=3)
        >>> result = attack(originals, targets)
        >>> result.images.shape
        torch.Size([1, 3, 224, 224])
        >>> bool(result.perturbation.abs().max() <= 0.05 + 1e-6)
        True

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
        precision: str = "auto",
    ):
        if reading not in READINGS:
            raise ValueError(
                f"There is no reading {reading!r}: choose one of {', '.join(READINGS)}."
            )
        if (cap is None) != (reading == "unit_cap"):
            raise ValueError(
                'The readings "literal" and "clip_after" need a cap, "unit_cap" has none.'
            )
        if goal is not None and penalty:
            raise ValueError(
                "A goal is a distance, so it cannot be combined with a penalty: "
                "give one of the two."
            )
        if precision not in PRECISIONS:
            raise ValueError(
                f"There is no precision {precision!r}: choose one of {', '.join(PRECISIONS)}."
            )
        if goal is not None and precision == "bfloat16":
            raise ValueError(
                "A goal is asked for at every step, and bfloat16 is too coarse for the answer: "
                "give one of the two."
            )
        if not (epsilon >= 0 and rate > 0 and (cap is None or cap > 0)):  # also NaN
            raise ValueError(
                f"ε must not be negative, rate and cap positive: {epsilon}, {rate}, {cap}."
            )
        if not (penalty >= 0 and (goal is None or goal >= 0)):
            raise ValueError(f"Penalty and goal must not be negative: {penalty}, {goal}.")

        self.encode = encode
        self.distance = distance
        self.epsilon = epsilon
        self.steps = whole("steps", steps, 0)
        self.rate = rate
        if reading == "clip_after":
            # Adam's step on d is a step of ε · rate on the picture, of ε · rate / cap on u.
            self.rate = rate * epsilon / cap
        self.cap = cap
        self.reading = reading
        self.penalty = penalty
        self.goal = goal
        self.batch = whole("batch", batch, 1)
        self.precision = precision
        check_epsilon(self.bound)
        self._has_warned = False

    @property
    def bound(self) -> float:
        """The largest change of any pixel value, L∞, on the scale [0, 1]."""
        if self.reading == "clip_after":
            return self.cap if self.epsilon else 0.0  # clip(0 · d) is 0
        return self.epsilon * (self.cap or 1)

    def __call__(
        self,
        images: Float[Tensor, "N 3 H W"],
        targets: Tensor | FaceCode | None = None,
        begin: Tensor | None = None,
    ) -> Attacked:
        """Attack pictures, each toward its own target or, without targets, away from its code.

        Args:
            images: RGB in [0, 1].
            targets: as many pictures, or codes as `encode` gives them (not of four axes, which
                pictures have).
            begin: pictures within the bound at which the search begins, as those that another
                attack has found; by default it begins at `images`.
        Raises:
            TypeError: the images are no floating-point tensor.
            ValueError: they are no batch of pictures, or there are not as many targets, or of
                another size; or `begin` has another shape.
        """
        images = checked(images, targets)
        if begin is not None and begin.shape != images.shape:
            raise ValueError(
                f"Each picture begins at one of its size, got {tuple(images.shape)} and "
                f"{tuple(begin.shape)}."
            )
        own = str(images.dtype).removeprefix("torch.")

        if self.precision == "bfloat16":
            return self._search(images, targets, "bfloat16", begin)
        if self.precision == "auto" and self.goal is None and is_faster_in_bfloat16(images):
            try:
                return self._search(images, targets, "bfloat16", begin)
            except Exception as error:  # encode may be anybody's, and fail in any way
                warnings.warn(
                    f"The attack fails in bfloat16 ({error}), so it searches in {own}: "
                    'precision="float32" does so at once.',
                    stacklevel=2,
                )
        return self._search(images, targets, own, begin)

    def _search(
        self,
        images: Tensor,
        targets: Tensor | FaceCode | None,
        precision: str,
        begin: Tensor | None,
    ) -> Attacked:
        """Algorithm 1, one batch after the other."""
        batches = images.split(self.batch)
        if targets is None:
            target_batches = [None] * len(batches)
        else:
            target_batches = split_targets(targets, self.batch)
        starts = [None] * len(batches) if begin is None else begin.split(self.batch)
        name = f"attack, L∞ {255 * self.bound:.3g}/255"
        bar = tqdm(batches, desc=name, unit="batch", disable=len(batches) < 2)
        results = []
        for batch, target_batch, start in zip(bar, target_batches, starts, strict=True):
            with torch.inference_mode(False):  # also where the caller wants no gradients
                *_, (best, target) = self._iterates(batch, target_batch, precision, start)
                results.append(self._attacked(batch, best, target, precision))

        return Attacked(
            images=torch.cat([result.images for result in results]),
            perturbation=torch.cat([result.perturbation for result in results]),
            distance=torch.cat([result.distance for result in results]),
            saved_distance=torch.cat([result.saved_distance for result in results]),
            course=torch.cat([result.course for result in results], 1),
            precision=precision,
        )

    def iterate(
        self, images: Float[Tensor, "B 3 H W"], targets: Tensor | FaceCode | None = None
    ) -> Iterator[Attacked]:
        """The same attack one step after the other, on all pictures at once.

        Args:
            images, targets: as they are given to the attack itself.
        Returns:
            What the attack would have found had it ended there: before the first step, and after
            each. Who has seen enough takes no more of them. The precision "auto" is the pictures'.
        Raises:
            TypeError, ValueError: as the attack itself, when the first is taken.
        """
        images = checked(images, targets)
        own = str(images.dtype).removeprefix("torch.")
        precision = "bfloat16" if self.precision == "bfloat16" else own
        iterates = self._iterates(images, targets, precision)
        while True:
            with torch.inference_mode(False):  # not while the caller looks at what it gets
                found = next(iterates, None)
            if found is None:
                return
            yield self._attacked(images, *found, precision)

    def _iterates(
        self,
        images: Tensor,
        targets: Tensor | FaceCode | None,
        precision: str,
        begin: Tensor | None = None,
    ) -> Iterator[tuple[Best, Code]]:
        """Algorithm 1 on one batch: the best so far, always the same object, and the target."""
        encode = in_bfloat16(self.encode) if precision == "bfloat16" else self.encode
        low, high = self._box(images)
        start, target, sign = self._start(images, targets, begin)
        u = start.clamp(low, high).requires_grad_()  # (B, 3, H, W)
        optimizer = torch.optim.Adam([u], lr=self.rate)
        best = Best.start(images)

        for step in range(self.steps + 1):
            attacked = images + self.bound * u  # I_a = I + ε · Clip(d, L, U)
            distance = self.distance(encode(attacked), target)
            objective = sign * distance + self._magnitude(u)  # Eq. 1, with λ_pert
            best.keep(attacked, objective)
            yield best, target
            if step == self.steps or self._is_content(best, sign):
                break
            (u.grad,) = torch.autograd.grad(objective.sum(), u)
            self._warn_of_nothing(u.grad, step)
            optimizer.step()
            u.data = u.data.clamp(low, high)  # the projection, in place of the clip

    @torch.no_grad()
    def _attacked(self, images: Tensor, best: Best, target: Code, precision: str) -> Attacked:
        """The result for one batch, if the best so far is the best."""
        distance = self.distance(self.encode(best.images), target)
        saved_distance = self.distance(self.encode(quantize(best.images)), target)
        left = self.steps + 1 - len(best.course)  # steps that an early end has saved
        return Attacked(
            images=best.images.clone(),
            perturbation=best.images - images,
            distance=distance,
            saved_distance=saved_distance,
            course=torch.stack(best.course + left * [best.objective]),  # (steps + 1, B)
            precision=precision,
        )

    def _box(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Between what u may move: −1 and 1, and where the picture reaches black and white."""
        unit = max(self.bound, 1e-12)
        low = (-images / unit).clamp(min=-1)
        high = ((1 - images) / unit).clamp(max=1)
        return low, high

    @torch.no_grad()
    def _start(
        self, images: Tensor, targets: Tensor | FaceCode | None, begin: Tensor | None
    ) -> tuple[Tensor, Code, int]:
        """The first u, the code to come to or to leave, and the sign of the distance in Eq. 1."""
        there = None if begin is None else (begin - images) / max(self.bound, 1e-12)
        if targets is None:
            # At the own code the distance has no gradient: begin beside it.
            noise = torch.rand(images.shape[1:], generator=torch.Generator().manual_seed(0))
            start = (2 * noise - 1).to(images).expand_as(images)
            return start if there is None else there, self.encode(images), -1
        target = self.encode(targets) if are_pictures(targets) else targets
        return torch.zeros_like(images) if there is None else there, target, 1

    def _magnitude(self, u: Tensor) -> Float[Tensor, " B"]:
        """λ_pert times the mean magnitude of the clipped d."""
        return self.penalty * (self.cap or 1) * u.abs().mean((1, 2, 3))

    def _is_content(self, best: Best, sign: int) -> bool:
        """Whether all pictures are as near, or as far, as the goal asks."""
        if self.goal is None:
            return False
        best.reached = best.objective <= sign * self.goal  # a goal comes without a penalty
        return bool(best.reached.all())

    def _warn_of_nothing(self, gradient: Tensor, step: int) -> None:
        """Once, if the very first step has no direction: then no further step will have one."""
        if step > 0 or not self.bound or not len(gradient) or self._has_warned:
            return
        lowest, highest = gradient.aminmax()
        if lowest == 0 and highest == 0:
            self._has_warned = True
            warnings.warn(
                "Every gradient of the attack is zero at its first step, so it will not move. "
                "Does encode round, detach or saturate? Or are the pictures their own targets?",
                stacklevel=5,  # the line that calls the attack
            )

"""The attack of chapter 7 under one's hands: settings, a start and a stop, and what it does."""

from types import ModuleType

import torch
from jaxtyping import Float
from torch import Tensor

from mofa_lib.attack import WEIGHTS, Attacked, CodeDistance, LatentAttack, quantize
from mofa_lib.autoencoder import MoFA
from mofa_lib.displays import counted
from mofa_lib.face_code import SYMBOLS
from mofa_lib.faces import check_images
from mofa_lib.show.live import Live, on_paper, png
from mofa_lib.show.pictures import ORIGINAL, amplified

CELL = 160  # side of a picture as the notebook shows it, pixels
GAP = 8  # between two of them
WIDE = 2 * CELL + GAP  # of the diagram
LINE = {"height": "22px", "margin": "0"}  # of a caption
PAUSE = 50  # between two steps, milliseconds
EPSILON = 0.1  # the largest bound that can be chosen
STEPS = 200  # the most steps
LABELS = "110px"


def attack_panel(
    mofa: MoFA, originals: Float[Tensor, "N 3 H W"], targets: Float[Tensor, "N 3 H W"]
) -> "AttackPanel":
    """Choose a pair, ε, the number of steps and the weights of Eq. 1, and watch the attack.

    It needs a kernel and the extra `widgets`. ``panel = show.attack_panel(mofa, originals,
    targets)``, shown at the end of a cell, keeps what has been found so far in `panel.result`.

    Args:
        mofa: the autoencoder to deceive.
        originals, targets: aligned faces, RGB in [0, 1]; each has its target in the same place.
    Raises:
        TypeError, ValueError: they are no such pictures, there are none, or not as many of both.
    """
    return AttackPanel(mofa, originals, targets)


class AttackPanel(Live):
    """What `attack_panel` makes.

    The steps are asked for by the page, one by one, so no thread is needed and the kernel stays
    free between them: ▶ goes on or pauses, ■ goes back to the original. So does any other setting.

    Args:
        mofa, originals, targets: as for `attack_panel`.
    Attributes:
        result: what the attack on the chosen pair has found so far; None before `widget` has been
            made.
        settings: what is chosen, by name, once `widget` has been made: controls of ipywidgets.
        play: the control that starts, pauses and goes back. Its value is the step.
    Raises:
        TypeError, ValueError: as for `attack_panel`.
    """

    def __init__(
        self, mofa: MoFA, originals: Float[Tensor, "N 3 H W"], targets: Float[Tensor, "N 3 H W"]
    ):
        check_images(originals, mofa.size)
        check_images(targets, mofa.size)
        if len(originals) != len(targets) or not len(originals):
            raise ValueError(
                "The panel needs pairs, each picture with its target, "
                f"got {len(originals)} and {len(targets)}."
            )
        self.result: Attacked | None = None
        self.settings = {}
        self.play = None
        self._mofa = mofa
        self._originals = originals
        self._targets = targets

    def __repr__(self) -> str:
        return f"AttackPanel: {counted(len(self._originals), 'pair')}"

    def _still(self) -> dict[str, Tensor]:
        return {"original": self._originals, "target": self._targets}

    def _build(self, ipywidgets: ModuleType):
        self.settings = self._choices(ipywidgets)
        self.play = ipywidgets.Play(interval=PAUSE, min=0, value=0, show_repeat=False)
        self._status = ipywidgets.HTML()
        self._loss = ipywidgets.HTML(layout={"width": f"{WIDE}px", "margin": "0"})
        self._captions, self._pictures = {}, {}
        rows = [
            [
                self._cell(ipywidgets, "original", "original"),
                self._cell(ipywidgets, "attacked", "adversarial"),
                self._cell(ipywidgets, "target", "target"),
            ],
            [
                self._cell(ipywidgets, "of original", "its reconstruction"),
                self._cell(ipywidgets, "of attacked", "its reconstruction"),
                self._cell(ipywidgets, "of target", "its reconstruction"),
            ],
            [
                self._cell(ipywidgets, "perturbation"),
                ipywidgets.VBox(
                    [ipywidgets.HTML("smallest loss so far, Eq. 1", layout=LINE), self._loss]
                ),
            ],
        ]
        self._begin()
        for setting in self.settings.values():
            setting.observe(self._begin, "value")
        self.play.observe(self._advance, "value")

        first, others = list(self.settings.values())[:3], list(self.settings.values())[3:]
        weights = ipywidgets.HTML("<b>weights λ of Eq. 1</b>")
        start = ipywidgets.HBox([self.play, ipywidgets.HTML("▶ start, pause; ■ back")])
        column = ipywidgets.VBox(
            [*first, weights, *others, start, self._status], layout={"width": "310px"}
        )
        grid = ipywidgets.VBox([ipywidgets.HBox(row) for row in rows])
        return ipywidgets.HBox([column, grid], layout={"flex_flow": "row wrap"})

    def _choices(self, ipywidgets: ModuleType) -> dict:
        """The controls by name: pair, bound and steps, then the weights and the penalty."""
        style = {"description_width": LABELS}
        wide = {"layout": {"width": "300px"}, "style": style, "continuous_update": False}
        chosen = {
            "pair": ipywidgets.IntSlider(
                1, min=1, max=len(self._originals), description="pair", **wide
            ),
            "epsilon": ipywidgets.FloatSlider(
                0.05, min=0, max=EPSILON, step=0.005, readout_format=".3f", description="ε", **wide
            ),
            "steps": ipywidgets.IntSlider(50, min=1, max=STEPS, description="steps", **wide),
        }
        labels = {group: f"{group} {SYMBOLS[group]}" for group in WEIGHTS}
        for name, label in {**labels, "penalty": "perturbation d"}.items():
            chosen[name] = ipywidgets.BoundedFloatText(
                WEIGHTS.get(name, 0.0),
                min=0,
                max=1000,
                step=0.01,
                description=label,
                layout={"width": "210px"},
                style=style,
            )
        return chosen

    def _cell(self, ipywidgets: ModuleType, name: str, caption: str = ""):
        """A picture under its caption."""
        side = f"{CELL}px"
        self._captions[name] = ipywidgets.HTML(caption, layout=LINE)
        self._pictures[name] = ipywidgets.Image(
            layout={"width": side, "height": side, "margin": "0"}
        )
        return ipywidgets.VBox(
            [self._captions[name], self._pictures[name]],
            layout={"margin": f"0 {GAP}px {GAP}px 0"},
        )

    def _begin(self, _=None) -> None:
        """Take the settings, and go back to the original."""
        chosen = {name: setting.value for name, setting in self.settings.items()}
        pair = slice(chosen["pair"] - 1, chosen["pair"])
        self._original, target = self._originals[pair], self._targets[pair]
        weights = {group: chosen[group] for group in WEIGHTS}
        self._attack = LatentAttack(
            self._mofa.encode,
            CodeDistance(self._mofa.model, weights),
            chosen["epsilon"],
            chosen["steps"],
            penalty=chosen["penalty"],
        )
        self._iterates = self._attack.iterate(self._original, target)
        self.result = next(self._iterates)
        self._step = 0
        self.play.value = 0
        self.play.max = chosen["steps"]
        self._show_face("original", self._original)
        self._show_face("target", target)
        self._draw()

    def _advance(self, _) -> None:
        """One step, since the page has counted on; it is told how far the attack really is."""
        if self.play.value == self._step:
            return
        if self.play.value == 0:  # ■
            self._begin()
            return
        found = next(self._iterates, None)
        if found is not None:
            self.result = found
            self._step += 1
            self._draw()
        self.play.value = self._step

    def _draw(self) -> None:
        """What the attack has found so far."""
        saved = quantize(self.result.images)
        levels = 255 * (saved - self._original).abs().max()
        times = round(0.25 / max(self._attack.bound, 1e-3))
        self._show_face("attacked", saved)
        self._captions["perturbation"].value = f"perturbation × {times}"
        self._pictures["perturbation"].value = png(amplified(self.result.perturbation, times)[0])

        losses = self.result.course[: self._step + 1, 0]
        self._loss.value = _curve(losses, self._attack.steps)
        lines = [
            f"step {self._step} of {self._attack.steps}",
            f"Δ to the target: {losses[0]:.3f} → {self.result.saved_distance[0]:.3f}",
            f"largest change: {levels:.0f}/255",
        ]
        if not any(self._attack.distance.weights.values()):
            lines.append("Every λ is 0, so nothing is asked for: give a group a weight.")
        self._status.value = "<br>".join(lines)

    @torch.no_grad()
    def _show_face(self, name: str, images: Float[Tensor, "1 3 H W"]) -> None:
        """A picture, and below it what MoFA makes of it."""
        self._pictures[name].value = png(images[0])
        self._pictures[f"of {name}"].value = png(on_paper(self._mofa(images))[0])


def _curve(losses: Float[Tensor, " S"], steps: int) -> str:
    """A diagram of the losses of the steps that are done, none above the first; as SVG."""
    left, right, top, bottom = 40, WIDE - 12, 8, CELL - 18  # where its axes are
    highest = float(losses[0]) or 1.0
    points = []
    for step, loss in enumerate(losses.tolist()):
        x = left + (right - left) * step / steps
        y = bottom - (bottom - top) * loss / highest
        points.append(f"{x:.1f},{y:.1f}")
    label = f"Loss: {losses[0]:.3f} at first, {losses[-1]:.3f} after {len(losses) - 1} steps"
    x, y = points[-1].split(",")
    return f'''<svg width="{WIDE}" height="{CELL}" role="img" aria-label="{label}"
        fill="currentColor" font-size="11">
        <path d="M{left},{top}V{bottom}H{right}" fill="none" stroke="currentColor"/>
        <polyline points="{" ".join(points)}" fill="none" stroke="{ORIGINAL}" stroke-width="2"/>
        <circle cx="{x}" cy="{y}" r="3" fill="{ORIGINAL}"/>
        <g text-anchor="end"><text x="{left - 4}" y="{top + 6}">{highest:.3f}</text>
        <text x="{left - 4}" y="{bottom + 2}">0</text>
        <text x="{right + 8}" y="{CELL - 4}">{steps} steps</text></g></svg>'''

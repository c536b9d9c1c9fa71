"""Measures with judges from outside whether reconstructions show who it is, and writes the result
file `likeness.json`.

    python -m tests.meter --out mofa_lib/shipped/results

A reconstruction is judged `alone`, on grey: `over` the picture, its hair, ears and background are
the picture's. As a control the `picture` itself is judged, grey wherever the reconstruction is.
"""

import argparse
import time

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from mofa_lib import FaceCode, FaceRenderer, MoFA, RenderedFaces, load_pretrained, losses
from mofa_lib.artifacts import load_tensors
from mofa_lib.judges import Judge, load_judge
from mofa_lib.judges.judge import FOLDER, RECOGNISERS
from mofa_lib.likeness import GREY, among, likeness, on_grey
from mofa_lib.profiles import device, profile
from mofa_lib.renderer import Rendering
from mofa_lib.results import save_result

BATCH = 50


def reconstruct(
    mofa: MoFA, method: str, images: Tensor, steps: int, renderer: FaceRenderer
) -> FaceCode:
    """The codes that a method finds for a batch of pictures."""
    if method == "encoder":
        return mofa.encode(images)
    mean = FaceCode.mean(mofa.model, len(images))
    return fit(mofa, images, mean, steps, renderer) if method == "analysis by synthesis" else mean


def fit(
    mofa: MoFA, images: Tensor, start: FaceCode, steps: int, renderer: FaceRenderer
) -> FaceCode:
    """Chapter 6's analysis by synthesis: Adam on the code itself, with the picture alone."""
    images = F.interpolate(images, renderer.size, mode="area")
    u = (start.to_vector() / mofa.scales).detach().requires_grad_()
    adam = torch.optim.Adam([u], lr=0.03)
    for _ in tqdm(range(steps), "analysis by synthesis", leave=False):
        code = FaceCode.from_vector(u * mofa.scales, mofa.model)
        loss = losses.photometric(mofa.decode(code, renderer), images)
        loss = loss + losses.statistical(code, losses.LossWeights())
        adam.zero_grad()
        loss.sum().backward()
        adam.step()
    return FaceCode.from_vector(u.detach() * mofa.scales, mofa.model)


def views(drawn: Rendering, images: Tensor, points: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """What the judges are shown of a batch: pictures and five or 68 points."""
    alone, own = on_grey(drawn)
    margin = (alone.shape[2] - images.shape[2]) // 2

    def framed(pictures: Tensor) -> Tensor:
        return F.pad(pictures, [margin] * 4, value=GREY)

    return {
        "alone": (alone, own),
        "over": (framed(drawn.over(images)), own),
        "picture": (framed(torch.where(drawn.mask > 0, images, GREY)), points + margin),
    }


@torch.no_grad()
def measure(
    judge: Judge, mofa: MoFA, faces: RenderedFaces, codes: dict[str, Tensor], seed: int
) -> dict:
    """How well a judge tells people apart, in pictures and in the faces of all methods' codes."""
    people = faces.identities
    batches = torch.arange(len(faces)).split(BATCH)
    whole = torch.cat([judge.embed(*pictures(faces, batch)).cpu() for batch in tqdm(batches)])
    found = {"pictures": among(whole, people, seed)}
    for method, z in codes.items():
        seen = {}  # view -> embeddings, batch by batch
        for batch in tqdm(torch.arange(len(z)).split(BATCH), method):
            drawn = mofa.decode(FaceCode.from_vector(z[batch].to(device()), mofa.model))
            for view, shown in views(drawn, *pictures(faces, batch)).items():
                seen.setdefault(view, []).append(judge.embed(*shown).cpu())
        found[method] = {
            view: likeness(whole[: len(z)], torch.cat(parts), people[: len(z)], seed)
            for view, parts in seen.items()
        }
    return found


def pictures(faces: RenderedFaces, batch: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures with their landmarks, on the device."""
    return faces.batch(batch).to(device()), faces.landmarks[batch].to(device())


def main(arguments: list[str] | None = None) -> None:
    """The command line, see the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.meter")
    parser.add_argument("--out", required=True, help="folder of the result file")
    parser.add_argument("--profile", default="cpu", help="whose MoFA is measured")
    parser.add_argument("--seed", type=int, default=0, help="chooses the rendered people")
    parser.add_argument("--count", type=int, default=400, help="pictures, four of a person")
    parser.add_argument("--few", type=int, default=100, help="of them for what is slow")
    parser.add_argument("--steps", type=int, default=300, help="of analysis by synthesis")
    given = parser.parse_args(arguments)
    begun = time.perf_counter()

    mofa = load_pretrained(given.profile)
    renderer = FaceRenderer(mofa.model, profile(given.profile).drawn).to(device())
    faces = RenderedFaces("test", given.count, given.seed, mofa.size)
    counts = {"encoder": given.count, "mean face": given.few, "analysis by synthesis": given.few}
    codes = {}
    for method, count in counts.items():
        parts = []
        for batch in torch.arange(count).split(BATCH):
            images, _ = pictures(faces, batch)
            found = reconstruct(mofa, method, images, given.steps, renderer)
            parts.append(found.to_vector().cpu())
        codes[method] = torch.cat(parts)

    data = {"n": counts, "judges": {}}
    for name in RECOGNISERS:
        judge = load_judge(name)
        _, about = load_tensors(FOLDER / f"{name}.safetensors")
        readings = measure(judge, mofa, faces, codes, given.seed)
        data["judges"][name] = {"source": about["source"], **readings}

    options = {"profile", "seed", "count", "few", "steps"}
    asked = " ".join(f"--{k} {v}" for k, v in vars(given).items() if k in options)
    save_result(
        given.out,
        "likeness",
        claim="Do reconstructions show who it is, to judges that nobody here trained?",
        command=f"python -m tests.meter {asked}",
        profile=given.profile,
        seed=given.seed,
        n=given.count,
        weights=["mofa"],
        seconds=time.perf_counter() - begun,
        data=data,
    )


if __name__ == "__main__":
    main()

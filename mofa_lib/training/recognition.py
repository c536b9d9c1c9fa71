"""Recognition as a loss: in the eyes of a judge, a reconstruction is its person. Used in chapter 6.

A judge that takes part in a training measures nothing afterwards; the other one does.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from mofa_lib.faces import Faces
from mofa_lib.judges import Judge
from mofa_lib.likeness import GREY, with_margin
from mofa_lib.renderer import Rendering

SHARPNESS = 20.0  # how much likelier a person is that is nearer by 1: strangers are 0.6 apart


class Recognition(nn.Module):
    """How hard a judge finds it to tell the right person from the others of the batch.

    The cross-entropy of the distances between a reconstruction and the mean embeddings of people.
    Where the judge cannot see a face, because it is too small or cut off, the term is 0.

    Args:
        judge: from outside; it stays as it is.
        people: mean embedding of each person's pictures.
    """

    def __init__(self, judge: Judge, people: Float[Tensor, "P N"]):
        super().__init__()
        self.judge = judge
        self.register_buffer("people", people)

    def forward(
        self,
        rendering: Rendering,
        landmarks: Float[Tensor, "B M 2"],
        identities: Int[Tensor, " B"],
    ) -> Float[Tensor, " B"]:
        """The loss of each reconstruction.

        Args:
            landmarks: the picture's own, in pixels of the rendering: they say where to look, so
                that a face which lies elsewhere gains nothing.
        """
        alone = rendering.over(torch.full_like(rendering.image, GREY))
        found, seen = _embedded(self.judge, *with_margin(alone, landmarks))  # (S, N)
        away = torch.cdist(found, self.people[identities])  # (S, B)
        right = seen.nonzero()[:, 0]  # (S,)
        everybody = torch.arange(len(seen), device=away.device)
        twice = (identities[right, None] == identities) & (right[:, None] != everybody)
        logits = (-SHARPNESS * away).masked_fill(twice, -torch.inf)
        losses = F.cross_entropy(logits, right, reduction="none")
        return losses.new_zeros(len(seen)).index_put((right,), losses)


@torch.no_grad()
def mean_embeddings(judge: Judge, faces: Faces) -> Float[Tensor, "P N"]:
    """The mean embedding of each person's pictures, on the judge's device.

    Pictures in which the judge sees no face are left out; who has no other gets the embedding 0.
    """
    place = next(judge.parameters()).device
    parts, seen = [], []
    for numbers in tqdm(torch.arange(len(faces)).split(100), "recognising", disable=None):
        framed = with_margin(faces.batch(numbers).to(place), faces.landmarks[numbers].to(place))
        found, which = _embedded(judge, *framed)
        parts.append(found)
        seen.append(which)
    embeddings, which = torch.cat(parts), torch.cat(seen)  # (S, N), (F,)

    people = faces.identities.to(place)
    counts = people[which].bincount(minlength=int(people.max()) + 1).clamp(min=1)
    sums = embeddings.new_zeros(len(counts), embeddings.shape[1])
    return sums.index_add(0, people[which], embeddings) / counts[:, None]


def _embedded(
    judge: Judge, images: Float[Tensor, "B 3 T T"], points: Float[Tensor, "B P 2"]
) -> tuple[Float[Tensor, "S N"], Bool[Tensor, " B"]]:
    """Embeddings of the faces that a judge can see, and which of them these are."""
    cuts = [judge.cut(images[:0], points[:0])]  # nothing yet; it refuses wrong types and shapes
    seen = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    for number in range(len(images)):
        one = slice(number, number + 1)
        try:
            cuts.append(judge.cut(images[one], points[one]))
        except ValueError:  # too small, or cut off
            continue
        seen[number] = True
    return judge(torch.cat(cuts)), seen

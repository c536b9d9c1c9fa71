"""Recognition as a loss: in the eyes of a judge, a reconstruction is its person. Used in chapter 6.

A judge that takes part in a training measures nothing afterwards; the other one does.
"""

import torch
from jaxtyping import Float, Int
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
        found = self.judge.embed(*with_margin(alone, landmarks))  # (B, N)
        away = torch.cdist(found, self.people[identities])  # (B, B)
        right = torch.arange(len(away), device=away.device)
        twice = (identities[:, None] == identities) & (right[:, None] != right)
        logits = (-SHARPNESS * away).masked_fill(twice, -torch.inf)
        return F.cross_entropy(logits, right, reduction="none")


@torch.no_grad()
def mean_embeddings(judge: Judge, faces: Faces) -> Float[Tensor, "P N"]:
    """The mean embedding of each person's pictures, on the judge's device."""
    place = next(judge.parameters()).device
    parts = []
    for numbers in tqdm(torch.arange(len(faces)).split(100), "recognising", disable=None):
        framed = with_margin(faces.batch(numbers).to(place), faces.landmarks[numbers].to(place))
        parts.append(judge.embed(*framed))
    embeddings = torch.cat(parts)  # (F, N)

    people = faces.identities.to(place)
    counts = people.bincount().clamp(min=1)
    sums = embeddings.new_zeros(len(counts), embeddings.shape[1])
    return sums.index_add(0, people, embeddings) / counts[:, None]

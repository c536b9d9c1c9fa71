"""Measures how well components learnt from an artist's heads explain heads that were scanned, and
the other way round, and writes the result file `scans.json`.

    python -m tests.scans FaceXModel --out mofa_lib/shipped/results

The scanned heads are samples of ICT-FaceKit Light, whose folder is given. A head is a cloud of
points, spread evenly over its face without the eyeballs. One half of them is for the fit: laid on
the mean face by the landmarks, then those components and that rigid motion are found with which the
model's surface comes nearest. The other half tells how near that is.
"""

import argparse
import time
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from mofa_lib import load_morphable_model, metrics
from mofa_lib.borrowed_skin import parts_of
from mofa_lib.faces import JAW, NOSE_TIP
from mofa_lib.ict_facekit import blend_shapes
from mofa_lib.mesh import vertex_normals
from mofa_lib.model_arrays import cropped
from mofa_lib.procrustes import rigid_alignment
from mofa_lib.results import save_result
from mofa_lib.studio.heads import HeadShapes
from mofa_lib.surfaces import nearest_places

COUNTS = (0, 10, 20, 40, 80)  # components
ROUNDS = 3  # of the fit, at each of them
POINTS = 1200  # of a head
RADIUS = 80.0  # mm around the tip of the nose, where no model has an edge
NOISE = 0.1  # mm that a point may be off, weighed against the components' standard deviations
STRAY = 10.0  # mm: a point so far off has found another part of the face


class Model:
    """A linear model of faces without an expression.

    Attributes:
        mean, triangles, landmarks: (V, 3), (F, 3) and (68,).
        seen: the vertices of the skin that look forward, (W,).
        skin: the triangles between those, by their numbers among them.
    """

    def __init__(self, mean, basis, triangles, landmarks):
        self.mean, basis = np.asarray(mean, float), np.asarray(basis, float)
        self.triangles, self.landmarks = np.asarray(triangles), np.asarray(landmarks)
        parts = parts_of(self.mean, self.triangles, self.mean[self.landmarks])
        normals = vertex_normals(self.mean[None], self.triangles)[0].numpy()
        self.seen = np.flatnonzero((parts == 0) & (normals[:, 2] > 0.1))
        self.skin = cropped(self.triangles, self.seen, len(self.mean))
        self.basis = basis[self.seen]  # (W, 3, K)

    def points(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Even places on the mean face, by their corners and weights, (N, 3) each."""
        away = np.linalg.norm(self.mean - self.mean[self.landmarks[NOSE_TIP]], axis=1)
        triangles = self.seen[self.skin]
        triangles = triangles[(away[triangles] < RADIUS).all(1)]
        a, b, c = self.mean[triangles].swapaxes(0, 1)
        area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
        chosen = rng.choice(len(triangles), count, p=area / area.sum())
        return triangles[chosen], rng.dirichlet([1, 1, 1], count)

    def surface(self, alpha: np.ndarray) -> np.ndarray:
        """The skin with some coefficients, (W, 3)."""
        return self.mean[self.seen] + (self.flat @ alpha).reshape(-1, 3)

    @cached_property
    def flat(self) -> np.ndarray:
        return self.basis.reshape(-1, self.basis.shape[2])  # (3W, K)

    def explain(self, points: np.ndarray, marks: np.ndarray) -> tuple[list[float], float]:
        """What is left of a head at each of COUNTS, mean distance in mm; and the root mean square
        of the coefficients of most components.
        """
        inner = slice(JAW.stop, None)
        rotation, shift = rigid_alignment(marks[inner], self.mean[self.landmarks][inner])
        points = points @ rotation.numpy().T + shift.numpy()
        alpha, left = np.zeros(self.basis.shape[2]), []
        for count in COUNTS:
            for _ in range(ROUNDS):
                step = self.step(points[::2], alpha, count)
                alpha[:count] += step[:count]
                turn = Rotation.from_rotvec(step[count : count + 3])
                points = turn.apply(points) + step[count + 3 :]
            places = nearest_places(points[1::2], self.surface(alpha), self.skin)
            left.append(places.distance.mean())
        return left, float(np.sqrt(np.square(alpha).mean()))

    def step(self, points: np.ndarray, alpha: np.ndarray, count: int) -> np.ndarray:
        """What to add to the first coefficients, and a turn and a shift of the points, by which the
        points come nearest to the planes of the triangles where they are now nearest.
        """
        surface = self.surface(alpha)
        places = nearest_places(points, surface, self.skin, candidates=4)
        a, b, c = surface[places.corners].swapaxes(0, 1)
        normal = np.cross(b - a, c - a)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)  # (N, 3)
        rest = np.einsum("nc,nc->n", points - places.read(surface), normal)
        used = np.abs(rest) < STRAY

        # What each component, turning and shifting do to the rest.
        shares = (places.weights[:, :, None] * normal[:, None]).reshape(len(points), 1, 9)
        moves = self.basis[places.corners, :, :count].reshape(len(points), 9, count)
        rows = np.hstack([-(shares @ moves)[:, 0], np.cross(points, normal), normal])[used]
        prior = NOISE**2 * np.r_[np.ones(count), np.zeros(6)]
        goal = -rows.T @ rest[used] - prior * np.r_[alpha[:count], np.zeros(6)]
        return np.linalg.solve(rows.T @ rows + np.diag(prior), goal)


def ours(name: str) -> Model:
    model = load_morphable_model(name)
    return Model(model.mean_shape, model.shape_basis, model.faces, model.landmarks)


def people_of(shapes: HeadShapes, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """New people of those that a model of ours was learnt from."""
    while True:
        yield shapes.head(rng).neutral[shapes.model_vertices].double().numpy()


def scanned(neutral: np.ndarray, modes: np.ndarray, rng: np.random.Generator):
    """Samples of ICT-FaceKit, by all of its modes."""
    while True:
        yield neutral + np.tensordot(rng.standard_normal(len(modes)), modes, 1)


def measure(explaining: Model, shown: Model, people: list[np.ndarray], seed: int) -> dict:
    """How well a model explains heads of the topology of another one."""
    corners, weights = shown.points(POINTS, np.random.default_rng(seed))
    left, sizes = [], []
    for head in tqdm(people):
        points = np.einsum("nc,nck->nk", weights, head[corners])
        errors, size = explaining.explain(points, head[shown.landmarks])
        left.append(errors)
        sizes.append(size)
    each = torch.arange(len(people))

    def mean(values: np.ndarray) -> list[float]:
        return [
            round(value, 4) for value in metrics.mean_interval(torch.from_numpy(values), each, seed)
        ]

    return {
        "n": len(people),
        "mm": [mean(column) for column in np.array(left).T],
        "sigma": mean(np.array(sizes)),
    }


def main(arguments: list[str] | None = None) -> None:
    """The command line, see the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.scans")
    parser.add_argument("ict", type=Path, help="the folder FaceXModel of ICT-FaceKit Light")
    parser.add_argument("--out", required=True, help="folder of the result file")
    parser.add_argument("--seed", type=int, default=0, help="chooses people and points")
    parser.add_argument("--count", type=int, default=1000, help="scanned heads for our models")
    parser.add_argument("--few", type=int, default=150, help="heads for anything else")
    given = parser.parse_args(arguments)
    begun = time.perf_counter()

    shapes, learnt = blend_shapes(given.ict), load_morphable_model(given.ict)
    ict = Model(shapes.neutral, learnt.shape_basis, shapes.triangles, shapes.landmarks)
    models = {"face": ours("face"), "ict": ict}
    rngs = [np.random.default_rng([3, given.seed, number]) for number in (1, 2)]
    sources = {
        "face": people_of(HeadShapes(), rngs[0]),
        "ict": scanned(shapes.neutral, shapes.identities, rngs[1]),
    }
    heads = {name: list(islice(source, given.few)) for name, source in sources.items()}
    heads["ict"] += islice(sources["ict"], given.count - given.few)

    explained = {}
    for name, model in models.items():
        for shown, people in heads.items():
            if name == "ict" or shown in (name, "ict"):
                some = people[: given.few] if name == "ict" else people
                found = measure(model, models[shown], some, given.seed)
                explained.setdefault(name, {})[shown] = found
                print(name, "explains", shown, found)

    save_result(
        given.out,
        "scans",
        claim="How well do components of an artist's heads explain heads that were scanned?",
        command=f"python -m tests.scans {given.ict.name} --seed {given.seed} "
        f"--count {given.count} --few {given.few}",
        profile="cpu",
        seed=given.seed,
        n=given.count,
        weights=[],
        seconds=time.perf_counter() - begun,
        data={"components": list(COUNTS), "points": POINTS // 2, "explained": explained},
    )


if __name__ == "__main__":
    main()

"""Rendered faces: reproducible, identity-disjoint, true to their ground truth, and safe against a
broken cache.
"""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from mofa_lib import RenderedFaces
from mofa_lib.alignment import five_point_template
from mofa_lib.camera import Camera, pose
from mofa_lib.faces import five_points
from mofa_lib.lighting import irradiance, sphere_points
from mofa_lib.studio import recipe as recipes
from mofa_lib.studio.recipe import LIBRARY, sources
from mofa_lib.studio.session import SPLITS, PhotoSession

SIZE = 32
ATTRIBUTES = {
    "gender", "weight", "years", "african", "asian", "caucasian",
    "glasses", "sunglasses", "beard", "bald", "lightness", "yaw",
}  # fmt: skip


def faces(split: str = "test", count: int = 6, **given) -> RenderedFaces:
    return RenderedFaces(split, count, **{"size": SIZE, "per_identity": 2, **given})


def test_a_seed_is_a_data_set(tmp_path, monkeypatch):
    """Drawn twice, in two empty caches."""
    drawn = []
    for name in ("one", "two"):
        monkeypatch.setenv("MOFA_CACHE", str(tmp_path / name))
        drawn.append(faces())
    one, two = drawn
    assert one.images.equal(two.images) and one.landmarks.equal(two.landmarks)
    assert one.skin(slice(0, 6)).equal(two.skin(slice(0, 6)))


def test_more_pictures_begin_with_the_same_ones(cache):
    few, many = faces(count=4), faces(count=7)
    assert many.images[:4].equal(few.images) and many.landmarks[:4].equal(few.landmarks)


def test_people_may_be_drawn_part_by_part(cache):
    """Those after `start` are the same pictures, landmarks, heads and numbers."""
    all_of_them, last = faces(count=7), faces(count=3, start=4)
    assert last.images.equal(all_of_them.images[4:])
    assert last.landmarks.equal(all_of_them.landmarks[4:])
    assert last.skin(slice(None)).equal(all_of_them.skin(slice(4, None)))
    assert last.identities.tolist() == [2, 2, 3]
    here, there = last[0], all_of_them[4]
    assert here.vertices.equal(there.vertices) and here.illumination.equal(there.illumination)
    assert here.identity == there.identity and here.attributes == there.attributes


def test_splits_and_seeds_are_other_people(cache):
    sets = {
        (split, seed): faces(split, 2, seed=seed, per_identity=1, size=8)
        for split in SPLITS
        for seed in (0, 1)
    }
    people = {
        (key, identity): data[identity].vertices - data[identity].vertices.mean(0)
        for key, data in sets.items()
        for identity in (0, 1)
    }
    names = list(people)
    for i, a in enumerate(names):
        for b in names[:i]:
            assert (people[a] - people[b]).norm(dim=1).mean() > 1, (a, b)


def test_pictures_of_one_person_are_different_pictures_of_one_head(cache):
    data = faces(count=4)
    assert data.identities.tolist() == [0, 0, 1, 1] and [data[i].identity for i in range(4)] == [
        0,
        0,
        1,
        1,
    ]
    person = [{k: v for k, v in data[i].attributes.items() if k != "yaw"} for i in range(3)]
    assert (
        person[0] == person[1] != person[2]
        and data[0].attributes["yaw"] != data[1].attributes["yaw"]
    )
    assert (data[0].image - data[1].image).abs().mean() > 0.01
    ears = data[0].vertices[:, 2] < -40  # no facial action moves the back of the head

    def apart(i, j):
        return float((data[i].vertices - data[j].vertices)[ears].norm(dim=1).mean())

    assert apart(0, 1) < 0.5 < 1 < apart(1, 2)


def test_a_face_s_parts_fit_together(cache, model):
    data = faces(count=3)
    assert (
        len(data) == 3
        and data.images.shape == (3, 3, SIZE, SIZE)
        and data.images.dtype == torch.uint8
    )
    for i in range(3):
        face = data[i]
        assert face.image.equal(data.batch([i])[0]) and face.landmarks.equal(data.landmarks[i])
        assert (
            face.image.mul(255).sub(data.images[i]).abs().max() < 1e-4
        )  # [0, 1], on the 8-bit grid
        assert face.vertices.shape == model.mean_shape.shape
        assert 0 < face.landmarks.min() and face.landmarks.max() < SIZE
        assert set(face.attributes) == ATTRIBUTES and 18 <= face.attributes["years"] <= 80
        assert (
            face.skin.shape == (SIZE, SIZE)
            and face.skin.equal(data.skin([i])[0])
            and 0 < face.skin.mean() < 0.7
        )
        assert irradiance(sphere_points(9)[None], face.illumination[None]).isfinite().all()
        away = (five_points(face.landmarks) - five_point_template(SIZE)).norm(dim=1)
        assert away.mean() < 0.08 * SIZE


def test_landmarks_are_the_posed_vertices(cache, model):
    """A head pose and a similarity in the picture take the vertices of a face to its landmarks."""
    from scipy.optimize import least_squares

    data = faces(count=3)
    for i in range(3):
        marks = data[i].vertices[model.landmarks].double()

        def misfit(given, marks=marks, i=i):
            turn = torch.from_numpy(given[:3])[None]
            camera = Camera(distance=1000 * given[6])
            seen = camera.project(pose(marks[None], turn, torch.zeros(1, 3).double()), SIZE)[
                0, :, :2
            ]
            return (
                (given[3] * seen + torch.from_numpy(given[4:6]) - data.landmarks[i])
                .flatten()
                .numpy()
            )

        fitted = least_squares(misfit, [0, 0, 0, 1, 0, 0, 1])
        assert np.sqrt(np.mean(fitted.fun**2)) < 0.01 * SIZE
        assert np.abs(fitted.x[:3]).max() < 0.9


def test_batches_take_lists_slices_and_tensors(cache):
    data = faces(count=4)
    for index in ([1, 3], slice(1, 4, 2), torch.tensor([1, 3])):
        assert data.batch(index).mul(255).round().byte().equal(data.images[[1, 3]])


@pytest.mark.parametrize(("count", "per_identity"), [(6, 2), (7, 2), (7, 3), (4, 1)])
def test_pairs_show_two_people_and_never_come_twice(cache, count, per_identity):
    data = faces(count=count, per_identity=per_identity, size=8)
    people = data.identities
    possible = int((people[:, None] != people[None]).sum())
    for wanted in (1, count, possible):
        original, target = data.pairs(wanted)
        assert len(original) == len(target) == wanted
        assert (people[original] != people[target]).all()
        assert 0 <= int(target.min()) and int(target.max()) < count
        assert len({*zip(original.tolist(), target.tolist(), strict=True)}) == wanted
    assert (
        data.pairs(count)[0].sort().values.equal(torch.arange(count))
    )  # everybody once before anybody twice
    assert all(a.equal(b) for a, b in zip(data.pairs(3), data.pairs(3), strict=True))


@pytest.mark.parametrize("count, per_identity", [(6, 1), (7, 1), (12, 2), (11, 3)])
def test_in_couples_nobody_comes_twice(cache, count, per_identity):
    some = faces(count=count, per_identity=per_identity)
    originals, targets = some.couples()
    people = some.identities[torch.cat([originals, targets])].tolist()
    assert len(originals) == len(targets) == -(-count // per_identity) // 2
    assert len(set(people)) == len(people)


def test_couples_need_two_people(cache):
    with pytest.raises(ValueError, match="two people"):
        faces(count=2).couples()


def test_pairs_need_two_people(cache):
    with pytest.raises(ValueError, match="at least two people: raise count"):
        faces(count=2).pairs(1)


def test_more_pairs_than_there_are_is_an_error(cache):
    with pytest.raises(ValueError, match="pairs"):
        faces(count=3, size=8).pairs(5)  # two people, four ordered pairs


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"split": "holdout"},
            "no split 'holdout': choose one of train, validation, calibration, test",
        ),
        ({"count": 0}, "count ≥ 1"),
        ({"size": 4}, "size ≥ 8"),
        ({"per_identity": 0}, "per_identity ≥ 1"),
        ({"seed": -1}, "seed"),
        ({"start": -2}, "start ≥ 0"),
        ({"start": 3}, "start must be a multiple of per_identity"),
    ],
)
def test_wrong_requests_are_refused(cache, wrong, message):
    with pytest.raises(ValueError, match=message):
        faces(**{"split": "test", "count": 2, **wrong})
    assert not list(cache.glob("**/*.npy"))


@pytest.mark.parametrize("index", [3, -1])
def test_there_is_no_face_beyond_the_last(cache, index):
    data = faces(count=3)
    with pytest.raises(IndexError, match=f"There are 3 faces; there is no face {index}"):
        data[index]


# The cache


def test_pictures_are_drawn_once(cache, monkeypatch):
    first = faces()
    monkeypatch.setattr(PhotoSession, "draw", lambda *given: pytest.fail("drawn again"))
    again = faces()
    assert again.images.equal(first.images) and again.landmarks.equal(first.landmarks)


def test_changing_a_picture_does_not_change_the_cache(cache):
    data = faces()
    kept = data.images.clone()
    data.images.zero_()
    assert faces().images.equal(kept)


def test_every_core_draws_the_same_bytes(cache, monkeypatch):
    """In other processes, and in this one with two threads."""
    monkeypatch.setattr("mofa_lib.studio.session.FEW", 0)
    given = PhotoSession("test", 6, 0, 8, 3, False, part=3)
    given.complete()
    assert given.cache.missing() == []
    many = {name: array.copy() for name, array in given.cache.open().items()}
    (given.cache.folder / "parts.txt").unlink()
    given.cache.begin()
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    given.draw(given.cache.missing())
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    for name, array in given.cache.open().items():
        np.testing.assert_array_equal(array, many[name])


def test_a_drawing_that_was_interrupted_goes_on(cache, monkeypatch):
    session = PhotoSession("test", 6, 0, SIZE, 2, False, part=2)
    session.complete()
    expected = session.cache.open()["images"].copy()
    notes = session.cache.folder / "parts.txt"
    notes.write_text(notes.read_text()[: notes.read_text().rindex("\n4")])
    drawn, draw = [], PhotoSession.draw
    monkeypatch.setattr(
        PhotoSession,
        "draw",
        lambda self, parts, bar=None: (drawn.append(parts), draw(self, parts))[1],
    )
    session.complete()
    assert drawn == [[4]]
    np.testing.assert_array_equal(session.cache.open()["images"], expected)


def test_what_is_not_there_after_drawing_is_an_error(cache, monkeypatch):
    monkeypatch.setattr(PhotoSession, "draw", lambda *given: None)  # as on a full disk
    with pytest.raises(RuntimeError, match="is the disk full"):
        faces()


@pytest.mark.parametrize("name", ["images.npy", "landmarks.npy", "skin.npy", "parts.txt"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "deleted"])
def test_a_damaged_cache_is_drawn_again(cache, name, damage):
    expected = faces(count=2, size=8).images.clone()
    (path,) = cache.glob(f"**/{name}")
    if damage == "deleted":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: 100 if damage == "truncated" else 0])
    if name == "parts.txt" and damage == "truncated":
        path.write_text("0 12")
    found = faces(count=2, size=8)
    assert found.images.equal(expected) and found.landmarks.shape == (2, 68, 2)


def test_the_recipe_knows_every_module_that_draws():
    """All of the library that is loaded where pictures are drawn is part of the cache's name, and
    neither the face model nor the renderer is.
    """
    program = "import sys, mofa_lib.studio.session; print(*sys.modules)"
    bare = "import sys, types; sys.modules['mofa_lib'] = package = types.ModuleType('mofa_lib'); "
    bare += f"package.__path__ = [{str(LIBRARY)!r}]; "  # without the package's own imports
    ran = subprocess.run([sys.executable, "-c", bare + program], capture_output=True, check=True)
    loaded = {name for name in ran.stdout.decode().split() if name.startswith("mofa_lib.")}
    assert loaded == {f"mofa_lib.{name}" for name in sources("studio.session")}
    assert not loaded & {"mofa_lib.morphable", "mofa_lib.model_files", "mofa_lib.renderer"}


def test_the_recipe_changes_with_what_draws(tmp_path, monkeypatch):
    shutil.copytree(LIBRARY, tmp_path / "mofa_lib", ignore=shutil.ignore_patterns("*.safetensors"))
    monkeypatch.setattr(recipes, "LIBRARY", tmp_path / "mofa_lib")
    before = sources("studio.session")
    for changed in ("studio/skin.py", "raster.py", "renderer.py"):
        path = tmp_path / "mofa_lib" / changed
        path.write_text(path.read_text(encoding="utf8") + "\n", encoding="utf8")
        after = sources("studio.session")
        assert (after != before) == (changed != "renderer.py")
        before = after

"""Parts join to what one run gives, are computed once, and know what they belong to."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from mofa_lib import LatentAttack, parts, profiles
from mofa_lib.parts import Parts

PICTURES = torch.rand(7, 3, 8, 8, generator=torch.Generator().manual_seed(0))
BRIGHTNESS = PICTURES.mean((1, 2, 3))


@pytest.fixture
def called():
    """How many pairs the function below was asked about, call by call."""
    return []


@pytest.fixture
def seen(called):
    def measure(start, count):
        called.append(count)
        some = PICTURES[start : start + count]
        bright = some.mean((1, 2, 3))
        return {"all": {"4/255": {"mean": bright}}, "is bright": bright > 0.5, "pixels": some}

    return measure


@pytest.fixture
def whole(monkeypatch):
    """Functions reach the workers as they are: those of a thread may be asked what they did."""
    monkeypatch.setattr(parts, "_pickled", lambda function: function)
    monkeypatch.setattr(parts, "_compute_pickled", parts._compute)


@pytest.mark.parametrize("count", [1, 3, 4, 7])
@pytest.mark.parametrize("workers", [0, 2])
def test_parts_join(cache, whole, seen, called, count, workers):
    executor = ThreadPoolExecutor(workers) if workers else None
    found = Parts("test", executor, size=3)("seen", seen, count)
    assert found.keys() == {"all", "is bright", "pixels"}
    assert found["all"]["4/255"]["mean"].equal(BRIGHTNESS[:count])
    assert found["is bright"].equal(BRIGHTNESS[:count] > 0.5)
    assert found["pixels"].equal(PICTURES[:count])
    assert sum(called) == count and max(called) <= 3


def test_an_attack_in_parts_is_the_attack(cache):
    """Bit by bit, in parts of its own batches."""
    weights = torch.randn(192, 5, generator=torch.Generator().manual_seed(1))

    def encode(images):
        return (images.flatten(1) @ weights).tanh()

    def apart(a, b):
        return (a - b).norm(dim=1)

    attack = LatentAttack(encode, apart, 0.1, steps=10, batch=3)
    targets = PICTURES.flip(0)
    expected = attack(PICTURES, targets).images

    def measure(start, count):
        pair = (x[start : start + count] for x in (PICTURES, targets))
        return {"images": attack(*pair).images}

    assert Parts("test", size=3)("attack", measure, 7)["images"].equal(expected)


def test_what_was_interrupted_goes_on(cache, seen, called):
    def interrupted(start, count):
        if len(called) == 2:
            raise KeyboardInterrupt
        return seen(start, count)

    first = Parts("test", size=2, seed=0)
    with pytest.raises(KeyboardInterrupt):
        first("seen", interrupted, 7)
    again = Parts("test", size=2, seed=0)
    assert again.folder == first.folder and again.earlier == 0
    assert again("seen", seen, 7)["pixels"].equal(PICTURES)
    assert called == [2, 2, 2, 1]
    assert again.earlier > 0

    damaged = sorted(again.folder.glob("*.safetensors"))[1]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert Parts("test", size=2, seed=0)("seen", seen, 7)["pixels"].equal(PICTURES)
    assert called == [2, 2, 2, 1, 2]

    again.finish()
    assert not again.folder.exists()


def test_more_pairs_keep_the_parts_of_fewer(cache, seen, called):
    """A last part that was shorter is measured anew."""
    assert Parts("test", size=2)("seen", seen, 5)["pixels"].equal(PICTURES[:5])
    assert Parts("test", size=2)("seen", seen, 7)["pixels"].equal(PICTURES)
    assert called == [2, 2, 1, 2, 1]


def test_names_keep_their_order(cache):
    """Tables and figures go by it, also where parts were read."""

    def measure(start, count):
        rows = torch.arange(start, start + count)
        return {"none": rows, "4 bits": {"shape": rows, "mm": rows / 2}, "JPEG": rows > 2}

    for _ in range(2):
        found = Parts("test", size=2)("measured", measure, 5)
        assert list(found) == ["none", "4 bits", "JPEG"]
        assert list(found["4 bits"]) == ["shape", "mm"]


def test_parts_are_carried_to_another_folder(cache, tmp_path, seen, called):
    here = Parts("test", size=2, folder=tmp_path / "here")
    here("seen", seen, 7)
    assert here.folder.parent == tmp_path / "here" and not (cache / "parts").exists()
    (tmp_path / "here").rename(tmp_path / "there")
    there = Parts("test", size=2, folder=tmp_path / "there")
    assert there("seen", seen, 7)["pixels"].equal(PICTURES)
    assert called == [2, 2, 2, 1]


def test_parts_of_something_else_are_not_taken(cache, seen, monkeypatch):
    def folders():
        yield Parts("test", seed=0).folder
        yield Parts("other", seed=0).folder
        yield Parts("test", seed=1).folder
        yield Parts("test", size=7, seed=0).folder
        with monkeypatch.context() as patch:
            patch.setattr(parts, "executed_cells", lambda: ["a = 1"])
            yield Parts("test", seed=0).folder
        with monkeypatch.context() as patch:
            patch.setattr(parts, "library_digest", lambda: "another")
            yield Parts("test", seed=0).folder
        with monkeypatch.context() as patch:
            patch.setattr(parts, "has_bfloat16", lambda: not profiles.has_bfloat16())
            yield Parts("test", seed=0).folder
        (cache / "weights").mkdir(parents=True)
        (cache / "weights" / "mofa_gpu-1of1.safetensors").touch()
        yield Parts("test", seed=0).folder

    assert len(set(folders())) == 8
    kept = Parts("test", size=4)
    assert kept("a", seen, 7)["pixels"].equal(PICTURES)
    other = kept("a c", lambda start, count: {"start": torch.full((count,), start)}, 7)
    assert other["start"].tolist() == [0, 0, 0, 0, 4, 4, 4]


def test_a_worker_of_another_precision_is_refused(cache, seen, monkeypatch):
    real = parts._compute
    other = {"bfloat16": not profiles.has_bfloat16()}

    def elsewhere(*job):
        found, about = real(*job)
        return found, about | other

    monkeypatch.setattr(parts, "_compute", elsewhere)
    with pytest.raises(RuntimeError, match="attacks in another precision than this computer"):
        Parts("test")("seen", seen, 2)


def test_there_are_pairs_to_measure(cache, seen):
    with pytest.raises(ValueError, match="count ≥ 1 is needed, got 0"):
        Parts("test")("seen", seen, 0)


def test_all_parts_have_the_threads_of_the_first(cache):
    def threads(start, count):
        return {"threads": torch.full((count,), torch.get_num_threads())}

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert Parts("test", size=3)("one", threads, 7)["threads"].tolist() == 7 * [2]
        torch.set_num_threads(1)
        assert Parts("test", size=3)("two", threads, 7)["threads"].tolist() == 7 * [2]
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_worker_gets_the_function_and_no_pictures(cache):
    sent = []

    class Sending(ThreadPoolExecutor):
        def submit(self, function, *arguments):
            sent.append(len(pickle.dumps(arguments)))
            return super().submit(function, *arguments)

    found = Parts("test", Sending(1), size=10)("same", _numbers, 40)
    assert found["number"].tolist() == list(range(40))
    assert len(sent) == 4 and max(sent) < 2000


def _numbers(start, count):
    return {"number": torch.arange(start, start + count)}


def test_a_cache_that_cannot_be_written_is_a_sentence(tmp_path, monkeypatch, seen):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MOFA_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match="cannot be written .*set MOFA_CACHE to a folder of your own"):
        Parts("test")("seen", seen, 7)
    monkeypatch.setenv("MOFA_CACHE", str(tmp_path / "cache"))
    own = tmp_path / "file" / "parts"
    with pytest.raises(OSError, match=f"The folder {own}.* cannot be written .*: choose a folder"):
        Parts("test", folder=own)("seen", seen, 7)

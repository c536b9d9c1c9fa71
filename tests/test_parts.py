"""Parts join to what one run gives, are computed once, and know what they belong to."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from mofa_lib import LatentAttack, parts
from mofa_lib.parts import Parts

PICTURES = torch.rand(7, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def called():
    """How often the function below was called."""
    return []


@pytest.fixture
def doubled(called):
    def double(images):
        called.append(len(images))
        return 2 * images

    return double


@pytest.fixture
def whole(monkeypatch):
    """Functions reach the workers as they are: those of a thread may be asked what they did."""
    monkeypatch.setattr(parts, "_pickled", lambda function: function)
    monkeypatch.setattr(parts, "_compute_pickled", parts._compute)


@pytest.mark.parametrize("count", [1, 3, 4, 7])
@pytest.mark.parametrize("workers", [0, 2])
def test_parts_join(cache, whole, doubled, called, count, workers):
    executor = ThreadPoolExecutor(workers) if workers else None
    found = Parts("test", executor, size=3)("double", doubled, PICTURES[:count])
    assert found.equal(2 * PICTURES[:count])
    assert sum(called) == count and max(called) <= 3


def test_an_attack_in_parts_is_the_attack(cache):
    """Bit by bit, in parts of its own batches."""
    weights = torch.randn(192, 5, generator=torch.Generator().manual_seed(1))

    def encode(images):
        return (images.flatten(1) @ weights).tanh()

    def apart(a, b):
        return (a - b).norm(dim=1)

    attack = LatentAttack(encode, apart, 0.1, steps=10, batch=3)
    expected = attack(PICTURES, PICTURES.flip(0)).images

    def hit(x, y):
        return attack(x, y).images

    assert Parts("test", size=3)("attack", hit, PICTURES, PICTURES.flip(0)).equal(expected)


def test_what_was_interrupted_goes_on(cache, doubled, called):
    def interrupted(images):
        if len(called) == 2:
            raise KeyboardInterrupt
        return doubled(images)

    first = Parts("test", size=2, seed=0)
    with pytest.raises(KeyboardInterrupt):
        first("double", interrupted, PICTURES)
    again = Parts("test", size=2, seed=0)
    assert again.folder == first.folder and again.earlier == 0
    assert again("double", doubled, PICTURES).equal(2 * PICTURES)
    assert called == [2, 2, 2, 1]
    assert again.earlier > 0

    damaged = sorted((again.folder / "double").iterdir())[1]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert Parts("test", size=2, seed=0)("double", doubled, PICTURES).equal(2 * PICTURES)
    assert called == [2, 2, 2, 1, 2]

    again.finish()
    assert not again.folder.exists()


def test_parts_of_something_else_are_not_taken(cache, doubled, monkeypatch):
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
        (cache / "weights").mkdir(parents=True)
        (cache / "weights" / "mofa_gpu-1of1.safetensors").touch()
        yield Parts("test", seed=0).folder

    assert len(set(folders())) == 7
    kept = Parts("test", size=4)
    assert kept("a/b", doubled, PICTURES).equal(2 * PICTURES)
    assert kept("a c", lambda images: images, PICTURES).equal(PICTURES)


def test_all_parts_have_the_threads_of_the_first(cache):
    def threads(images):
        return torch.full((len(images),), torch.get_num_threads())

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert Parts("test", size=3)("one", threads, PICTURES).tolist() == 7 * [2]
        torch.set_num_threads(1)
        assert Parts("test", size=3)("two", threads, PICTURES).tolist() == 7 * [2]
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_worker_gets_its_pictures_and_not_all(cache, monkeypatch):
    sent = []

    class Sending(ThreadPoolExecutor):
        def submit(self, function, *arguments):
            sent.append(len(pickle.dumps(arguments)))
            return super().submit(function, *arguments)

    many = torch.zeros(40, 3, 8, 8)
    found = Parts("test", Sending(1), size=10)("same", torch.abs, many)
    assert found.equal(many)
    assert len(sent) == 4 and max(sent) < many.nbytes / 2


def test_a_cache_that_cannot_be_written_is_a_sentence(tmp_path, monkeypatch, doubled):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MOFA_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match="cannot be written .*set MOFA_CACHE to a folder of your own"):
        Parts("test")("double", doubled, PICTURES)

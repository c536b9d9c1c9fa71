"""The vector z and its named parts."""

import pytest
import torch

from mofa_lib import FaceCode
from mofa_lib.face_code import GROUPS, SYMBOLS, group_sizes


def random_code(model, batch: int = 3) -> FaceCode:
    return FaceCode.from_vector(torch.randn(batch, sum(group_sizes(model))), model)


def test_the_default_code_has_the_paper_s_257_numbers(model):
    assert group_sizes(model) == [80, 64, 80, 3, 3, 27]
    assert FaceCode.mean(model, 2).to_vector().shape == (2, 257)
    assert set(SYMBOLS) == set(GROUPS)


def test_parts_are_cut_in_order(tiny_model):
    z = torch.arange(2 * 42).reshape(2, 42).float()
    code = FaceCode.from_vector(z, tiny_model)
    starts = [int(getattr(code, group)[0, 0]) for group in GROUPS]
    assert starts == [0, 3, 5, 9, 12, 15]
    assert code.illumination[0, -1] == 41
    assert code.to_vector().equal(z)


def test_the_mean_code_is_zero_and_on_the_model_s_device_and_type(tiny_model):
    code = FaceCode.mean(tiny_model, 4)
    assert len(code) == 4 and not code.to_vector().any()
    assert code.shape.dtype == tiny_model.mean_shape.dtype


@pytest.mark.parametrize("shape", [(2, 41), (2, 43), (42,), (1, 2, 42)])
def test_vectors_of_another_length_are_refused(unchecked, tiny_model, shape):
    with pytest.raises(ValueError, match=r"300 vertices.* length 42, got \("):
        FaceCode.from_vector(torch.zeros(shape), tiny_model)


@pytest.mark.parametrize(
    ("index", "rows"),
    [
        (0, [0]),
        (2, [2]),
        (-1, [2]),
        (-3, [0]),
        (slice(1, None), [1, 2]),
        ([2, 0], [2, 0]),
        (torch.tensor([True, False, True]), [0, 2]),
    ],
)
def test_some_faces_of_a_batch(tiny_model, index, rows):
    code = random_code(tiny_model)
    assert code[index].to_vector().equal(code.to_vector()[rows])


@pytest.mark.parametrize("index", [3, -4])
def test_a_face_beyond_the_batch_is_an_error(tiny_model, index):
    """Without it, a loop over the faces of a batch would never end."""
    with pytest.raises(IndexError):
        random_code(tiny_model)[index]


def test_a_part_can_be_replaced(tiny_model):
    code = random_code(tiny_model)
    turned = code.with_parts(rotation=torch.ones(3, 3))
    assert (turned.rotation == 1).all() and turned.shape is code.shape
    with pytest.raises(TypeError):
        code.with_parts(nose=torch.ones(3, 3))


def test_detached_codes_have_the_same_values_and_no_graph(tiny_model):
    code = FaceCode.from_vector(torch.randn(2, 42, requires_grad=True), tiny_model)
    cut = code.detach()
    assert cut.to_vector().equal(code.to_vector())
    assert code.to_vector().requires_grad and not cut.to_vector().requires_grad


def test_parts_of_different_batches_are_refused(tiny_model):
    """Said by the annotations of the dataclass, which the tests check."""
    with pytest.raises(TypeError):
        random_code(tiny_model, 3).with_parts(rotation=torch.zeros(2, 3))

"""A GPU that is not there: tensors that compute on the CPU, say that they are on `cuda`, and refuse
what CUDA refuses.

So a forgotten `.to(device)` or `.cpu()` is found without a GPU. In a kernel, `install()` before
anything else makes the library believe that it has one. Speed, memory and rounding are the CPU's.
"""

import torch
from torch import Tensor, nn
from torch._C._functorch import get_unwrapped, is_functorch_wrapped_tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

GPU = torch.device("cuda", 0)
MOVES = (Tensor.to, Tensor.cpu, Tensor.cuda)
COPIES = (Tensor.copy_, Tensor.data.__set__, Tensor.grad.__set__)  # from one device to another
BACKWARD = (
    Tensor.backward,
    torch.autograd.backward,
    torch.autograd.grad,
)  # the engine's own gradients are not marked
TO_NUMPY = (Tensor.numpy, Tensor.__array__)
INDEX = (Tensor.__getitem__, Tensor.__setitem__)
SHAPES = (
    Tensor.view_as,
    Tensor.expand_as,
    Tensor.reshape_as,
)  # of the second they want no more than its shape


class OnGPU(Tensor):
    """A tensor of the pretended GPU. `Mode` alone looks at the class."""

    __module__ = "torch"  # by which eagerpy knows what a tensor is
    __torch_function__ = torch._C._disabled_torch_function_impl


def mark(value: object) -> object:
    """Put the tensors in a result on the pretended GPU; they stay the same objects."""
    for leaf in tree_leaves(value):
        if isinstance(leaf, Tensor) and not isinstance(leaf, OnGPU):
            leaf._is_param = isinstance(leaf, nn.Parameter)
            leaf.__class__ = OnGPU
    return value


def on_gpu(tensor: Tensor) -> bool:
    while is_functorch_wrapped_tensor(tensor):
        tensor = get_unwrapped(tensor)
    return isinstance(tensor, OnGPU)


class Mode(TorchFunctionMode):
    """Sees every call into torch, with its arguments."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if func in SHAPES:
            tensors = tensors[:1]
        marked = any(map(on_gpu, tensors))
        if func == Tensor.device.__get__:
            return GPU if marked else func(*args)
        if func == Tensor.is_cuda.__get__:
            return marked
        if func in TO_NUMPY and marked:
            raise TypeError(
                "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first."
            )
        if (
            func == Tensor.__format__ and marked and not args[0].ndim
        ):  # torch formats numbers of its own class only
            return format(args[0].item(), args[1])
        if func in MOVES:
            return _move(func, args, kwargs, marked)
        if (
            func not in COPIES
            and func not in BACKWARD
            and not torch._C._current_graph_task_id() >= 0
        ):
            _refuse_mixture(func, args, tensors, marked)
        wanted = kwargs.get("device")
        if wanted is not None:
            wanted = torch.device(wanted)
            kwargs["device"] = "cpu"
            generator = kwargs.get("generator")
            if generator is not None and generator.device.type != wanted.type:
                raise RuntimeError(
                    f"Expected a '{wanted.type}' device type for generator "
                    f"but found '{generator.device}'"
                )
            marked = wanted.type == "cuda"
        result = func(*args, **kwargs)
        return mark(result) if marked else result


def _refuse_mixture(func, args, tensors, marked: bool) -> None:
    """Of tensors with a dimension; one on the CPU may be an index, or be copied into a slice."""
    if func in INDEX:
        tensors = [
            args[0],
            *(t for t in tensors if t is not args[0] and on_gpu(t) and not on_gpu(args[0])),
        ]
    if marked and any(tensor.ndim and not on_gpu(tensor) for tensor in tensors):
        where = ", ".join(f"{'cuda:0' if on_gpu(t) else 'cpu'} {tuple(t.shape)}" for t in tensors)
        raise RuntimeError(
            f"Expected all tensors to be on the same device, in {func.__name__}: {where}"
        )


def _move(func, args, kwargs, marked: bool):
    """`to`, `cpu` and `cuda`: what changes place becomes another tensor, what does not stays the
    same.
    """
    tensor, *rest = args
    if func is not Tensor.to:
        wanted, rest, kwargs = torch.device(func.__name__), [], {}
    elif rest and isinstance(rest[0], Tensor):
        wanted, rest = (GPU if on_gpu(rest[0]) else torch.device("cpu")), [rest[0].dtype, *rest[1:]]
    elif rest and isinstance(rest[0], str | torch.device):
        wanted, rest = torch.device(rest[0]), rest[1:]
    else:
        wanted = kwargs.pop("device", None)
        wanted = GPU if wanted is None and marked else torch.device(wanted or "cpu")
    moved = Tensor.to(tensor, *rest, **kwargs) if rest or kwargs else tensor
    if (wanted.type == "cuda") == marked:
        return mark(moved) if marked else moved
    if moved is tensor:
        moved = tensor.clone()
    return mark(moved) if wanted.type == "cuda" else moved


def _module_to(module: nn.Module, *args, **kwargs) -> nn.Module:
    """In the place of `nn.Module.to`: parameters and buffers are marked, or not any more, as they
    lie.
    """
    wanted, kind, non_blocking, layout = torch._C._nn._parse_to(*args, **kwargs)
    if kind is not None or layout is not None:
        TO(module, dtype=kind, memory_format=layout) if layout is not None else TO(
            module, dtype=kind
        )
    for tensor in (*module.parameters(), *module.buffers()):
        if wanted is not None and wanted.type == "cuda":
            mark(tensor)
        elif wanted is not None and isinstance(tensor, OnGPU):
            tensor.__class__ = nn.Parameter if tensor._is_param else Tensor
    return module


TO = nn.Module.to


def install() -> None:
    """From here on this process has a GPU."""
    nn.Module.to = _module_to
    answers = {
        "is_available": True,
        "device_count": 1,
        "current_device": 0,
        "is_bf16_supported": False,
    }
    answers |= {
        "get_device_name": "a pretended GPU",
        "set_device": None,
        "synchronize": None,
        "empty_cache": None,
    }
    for name, answer in answers.items():
        setattr(torch.cuda, name, lambda *_, answer=answer, **__: answer)
    torch.optim.Optimizer._accelerator_graph_capture_health_check = lambda self: (
        None
    )  # it asks the driver
    Mode().__enter__()

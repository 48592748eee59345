"""Counts where a step would wait for a GPU, on the CPU: by what it calls, not by what that takes."""

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten

_SIZED = {aten.nonzero.default, aten.masked_select.default, aten.repeat_interleave.Tensor, aten._unique2.default}
_READ = {Tensor.tolist, Tensor.cpu, Tensor.numpy}
_SENT = {torch.tensor, torch.as_tensor, Tensor.new_tensor}


class _Calls(TorchFunctionMode):
    def __init__(self, waits: "Waits") -> None:
        super().__init__()
        self._waits = waits

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _READ:
            self._waits.count("read", args)
        elif func in _SENT or (func is Tensor.__getitem__ and _has_list(args[1])):
            self._waits.count("sent", ())
        return func(*args, **(kwargs or {}))


class Waits(TorchDispatchMode):
    """kinds: how many numbers were read, sizes were asked that depend on numbers, and numbers were sent.

    What is of double precision and read is the noise schedule, which is on the CPU anyway.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kinds: Counter[str] = Counter()
        self._calls = _Calls(self)

    def __enter__(self) -> "Waits":
        self._calls.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._calls.__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is aten._local_scalar_dense.default:
            self.count("read", args)
        elif func in _SIZED or (func in (aten.index.Tensor, aten.index_put_.default) and _has_mask(args[1])):
            self.count("sized", ())
        return func(*args, **(kwargs or {}))

    def count(self, kind: str, args: Any) -> None:
        if not (args and isinstance(args[0], Tensor) and args[0].dtype == torch.float64):
            self.kinds[kind] += 1


def _has_mask(indices: Any) -> bool:
    return any(index is not None and index.dtype == torch.bool for index in indices)


def _has_list(index: Any) -> bool:
    return any(isinstance(part, list) for part in (index if isinstance(index, tuple) else (index,)))

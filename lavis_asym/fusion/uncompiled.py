"""torch.compile leaves the head as it is and compiles what is around it."""

import functools
from typing import Callable, TypeVar

import torch

Function = TypeVar("Function", bound=Callable)


def uncompiled(function: Function) -> Function:
    """The function, which torch.compile does not enter: the cutting of its work would be compiled anew for each batch.

    As `torch.compiler.disable`, whose import takes seconds, does where it is used as a decorator.
    """

    @functools.wraps(function)
    def call(*args, **kwargs):
        if torch.compiler.is_compiling():
            return torch.compiler.disable(function)(*args, **kwargs)
        return function(*args, **kwargs)

    return call

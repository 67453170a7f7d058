"""The matrix products of the head.

In float32 on a CPU they run as 1 x 1 convolutions, which are the same products and which torch gives to oneDNN. That
uses the widest vectors of any CPU, where the BLAS behind torch.bmm may not: twice as fast on an AMD EPYC.
"""

from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor

LARGE = 2**25  # multiplications of a product; a smaller one is not worth a convolution of its own


def grouped_product(rows: Tensor, weights: Tensor, dtype: Optional[torch.dtype] = None) -> Tensor:
    """Each group's rows times the transpose of its weights, differentiable.

    Args:
        rows: K x G x d.
        weights: G x C x d.
        dtype: in which to multiply; None is that of the rows.
    Returns:
        K x G x C in the dtype of the rows, of any strides.
    """
    dtype = dtype or rows.dtype
    if _is_convolution_faster(rows, dtype):
        return _Convolution.apply(rows, weights)
    product = torch.bmm(rows.transpose(0, 1).to(dtype), weights.transpose(1, 2).to(dtype))
    return product.transpose(0, 1).to(rows.dtype)


def batched_product(left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
    """left @ right for each of a batch; not differentiable.

    Args:
        left: B x M x K.
        right: B x K x N, in the same dtype.
        dtype: in which to multiply.
    Returns:
        B x M x N in the dtype of the factors.
    """
    if left.shape[1] * right[0].numel() < LARGE or not _is_convolution_faster(left, dtype):
        return torch.bmm(left.to(dtype), right.to(dtype)).to(left.dtype)
    products = [
        F.conv2d(columns.reshape(1, *columns.shape, 1), rows.reshape(*rows.shape, 1, 1))
        for rows, columns in zip(left, right)
    ]
    return torch.cat(products).squeeze(3) if len(products) > 1 else products[0].squeeze(3)


def _is_convolution_faster(rows: Tensor, dtype: torch.dtype) -> bool:
    """torch gives 1 x 1 convolutions to oneDNN in float32 and on several threads."""
    if rows.device.type != "cpu" or dtype != torch.float32 or rows.dtype != dtype or not rows.numel():
        return False
    return torch.backends.mkldnn.is_available() and torch.get_num_threads() > 1


class _Convolution(torch.autograd.Function):
    """The gradient of the weights sums over rows, where a convolution is the slower one."""

    @staticmethod
    def forward(ctx, rows, weights):
        ctx.save_for_backward(rows, weights)
        count, groups, depth = rows.shape
        pixels = rows.reshape(1, count, 1, groups * depth).permute(0, 3, 1, 2)  # channels last
        product = F.conv2d(pixels, weights.reshape(-1, depth, 1, 1), groups=groups)
        return product.permute(0, 2, 3, 1).reshape(count, groups, -1)

    @staticmethod
    def backward(ctx, gradient):
        rows, weights = ctx.saved_tensors
        grad_rows = grouped_product(gradient, weights.transpose(1, 2)) if ctx.needs_input_grad[0] else None
        grad_weights = None
        if ctx.needs_input_grad[1]:
            grad_weights = torch.bmm(gradient.permute(1, 2, 0), rows.transpose(0, 1))
        return grad_rows, grad_weights

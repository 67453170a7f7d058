"""Both ways of the products against loops."""

import pytest
import torch

from lavis_asym.fusion import products
from lavis_asym.fusion.products import batched_product, grouped_product


def loop(rows, weights):
    return torch.stack([torch.stack([w @ x for w, x in zip(weights, row)]) for row in rows])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # a convolution, and torch.bmm
@pytest.mark.parametrize("count,groups,columns,depth", [(5, 3, 7, 4), (1, 1, 1, 1), (1, 4, 3, 1), (6, 1, 2, 33)])
def test_each_groups_rows_meet_its_own_weights(dtype, count, groups, columns, depth):
    torch.manual_seed(0)
    rows = torch.randn(count, groups, depth, dtype=dtype, requires_grad=True)
    weights = torch.randn(groups, depth, columns, dtype=dtype).transpose(1, 2).requires_grad_()
    found, expected = grouped_product(rows, weights), loop(rows, weights)
    torch.testing.assert_close(found, expected)
    direction = torch.randn_like(expected)
    for a, b in zip(*(torch.autograd.grad(x, (rows, weights), direction) for x in (found, expected))):
        torch.testing.assert_close(a, b)


def test_rows_and_weights_may_be_views():
    rows, weights = torch.randn(3, 4, 10).transpose(0, 1)[:, :, 2:7], torch.randn(3, 12, 5)[:, ::2]
    torch.testing.assert_close(grouped_product(rows, weights), loop(rows, weights))


def test_the_product_may_run_in_half_precision():
    rows, weights = torch.randn(4, 2, 8), torch.randn(2, 3, 8)
    found = grouped_product(rows, weights, torch.bfloat16)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loop(rows, weights), atol=0.2, rtol=0.05)


def test_one_thread_gives_the_same_product():
    rows, weights = torch.randn(4, 2, 8), torch.randn(2, 3, 8)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = grouped_product(rows, weights)
        torch.set_num_threads(2)
        together = grouped_product(rows, weights)
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(alone, together)


@pytest.mark.parametrize("large", [1, 2**25])  # convolutions, and torch.bmm
@pytest.mark.parametrize("shape", [(1, 5, 4, 7), (3, 2, 6, 5), (2, 1, 1, 1)])
def test_each_of_a_batch_is_its_own_product(shape, large, monkeypatch):
    monkeypatch.setattr(products, "LARGE", large)
    batch, rows, depth, columns = shape
    left, right = torch.randn(batch, depth, rows).transpose(1, 2), torch.randn(batch, depth, columns)
    expected = torch.stack([a @ b for a, b in zip(left, right)])
    torch.testing.assert_close(batched_product(left, right, torch.float32), expected)
    half = batched_product(left, right, torch.bfloat16)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, expected, atol=0.2, rtol=0.05)

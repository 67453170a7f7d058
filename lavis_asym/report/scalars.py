"""The figures of a result as TensorBoard scalars."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Dict, Mapping

NO_FIGURES = ("protocol", "intervals")


def figures(result: Mapping[str, Any]) -> Dict[str, float]:
    """Every figure by its path, such as `txt_r1`, `geometry/alignment` or `by_length/1-5/img_r1`.

    A row of a list is named by its first value that is text, else by its number.
    """
    found: Dict[str, float] = {}
    for key, value in result.items():
        if key in NO_FIGURES or isinstance(value, bool):
            continue
        if isinstance(value, list):
            rows = [row for row in value if isinstance(row, dict)]
            value = {next((x for x in row.values() if isinstance(x, str)), str(k)): row for k, row in enumerate(rows)}
        if isinstance(value, dict):
            found.update({f"{key}/{name}": figure for name, figure in figures(value).items()})
        elif isinstance(value, (int, float)):
            found[key] = float(value)
    return found


def write_scalars(folder: Path, split: str, result: Mapping[str, Any], step: int) -> None:
    """Add every figure under `<split>/<figure>` to the events in `folder`; nothing where TensorBoard is not installed.

    Args:
        step: the global step, here the passes trained.
    """
    if find_spec("tensorboard") is None:
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for name, value in figures(result).items():
            writer.add_scalar(f"{split}/{name}", value, step)

"""The report of an evaluation: Markdown, one self-contained HTML page, TensorBoard scalars.

    pictures = collect(scores_i2t, scores_t2i, truth, images, texts)
    write_report(run / "result", "val", result, pictures, photo)
    write_scalars(run / "tensorboard", "val", result, epoch)

`result` is the content of `result/<split>.json`.
"""

from lavis_asym.report.attention import Attention, attend
from lavis_asym.report.collect import Pictures, collect
from lavis_asym.report.scalars import write_scalars
from lavis_asym.report.write import write_report

__all__ = ["Attention", "Pictures", "attend", "collect", "write_report", "write_scalars"]

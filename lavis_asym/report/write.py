"""The files of a report."""

from pathlib import Path
from typing import Any, Mapping, Optional, Tuple

from lavis_asym.files import write_atomically
from lavis_asym.report.collect import Pictures
from lavis_asym.report.examples import Photo
from lavis_asym.report.markdown import markdown
from lavis_asym.report.page import page


def write_report(
    folder: Path,
    split: str,
    result: Mapping[str, Any],
    pictures: Optional[Pictures] = None,
    photo: Optional[Photo] = None,
) -> Tuple[Path, Path]:
    """Write `<split>.md` and `<split>.html` into a folder, by custom a run's `result/`.

    Args:
        result: the content of `result/<split>.json`; sections may be absent.
        pictures: see `collect`; None leaves them out.
        photo: number of an image -> the image, or None if it is not at hand.
    Returns:
        The paths of the Markdown and the HTML file.
    """
    paths = folder / f"{split}.md", folder / f"{split}.html"
    contents = markdown(result), page(split, result, pictures, photo or (lambda number: None))
    for path, content in zip(paths, contents):
        write_atomically(path, content.encode())
    return paths

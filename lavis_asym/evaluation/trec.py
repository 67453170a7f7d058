"""Run files for the tools of text retrieval: trec_eval's run and qrels. A space in an id becomes %20."""

from typing import List, Tuple
from urllib.parse import quote

from lavis_asym.evaluation.run_files import DIRECTIONS, Run
from lavis_asym.evaluation.top import Top


def trec_run(run: Run, direction: str) -> str:
    """The lists of one of DIRECTIONS as `trec_eval` reads them: `QUERY Q0 CANDIDATE RANK SCORE lavis-asym`.

    Scores are places counted down, as trec_eval sorts by them anew and breaks ties its own way.
    """
    queries, gallery, top = _trec_side(run, direction)
    k = top.candidates.shape[1]
    return "".join(
        f"{query} Q0 {gallery[candidate]} {place + 1} {k - place} lavis-asym\n"
        for query, row in zip(queries, top.candidates.tolist())
        for place, candidate in enumerate(row)
    )


def trec_qrels(run: Run, direction: str) -> str:
    """The right pairs as `trec_eval` reads them: `QUERY 0 CANDIDATE 1`."""
    queries, gallery, _ = _trec_side(run, direction)
    pairs = sorted((image, text) for text, image in enumerate(run.ranked.owner.tolist()))
    if direction == DIRECTIONS[1]:
        pairs = [(text, image) for text, image in enumerate(run.ranked.owner.tolist())]
    return "".join(f"{queries[query]} 0 {gallery[candidate]} 1\n" for query, candidate in pairs)


def _trec_side(run: Run, direction: str) -> Tuple[List[str], List[str], Top]:
    images, texts = (["".join(quote(c) if c.isspace() or c == "%" else c for c in i) for i in ids] for ids in run[1:3])
    return (images, texts, run.texts_found) if direction == DIRECTIONS[0] else (texts, images, run.images_found)

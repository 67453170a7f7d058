"""Slow and obvious versions of what the tests check."""

from itertools import permutations

import numpy as np

from lavis_asym.evaluation import Truth


def id_maps(captions_per_image):
    """LAVIS's two maps for images with these numbers of captions."""
    img2txt, txt2img = {}, {}
    for image, count in enumerate(captions_per_image):
        img2txt[image] = list(range(len(txt2img), len(txt2img) + count))
        txt2img.update({text: image for text in img2txt[image]})
    return txt2img, img2txt


def of_owners(owner, images):
    """The truth of texts with one image each: M ints, and the number of images."""
    return Truth.from_maps(owner, [np.flatnonzero(np.equal(owner, image)) for image in range(images)])


def worth(row, right):
    """Scores in which NaN is worse than anything for a right candidate and better than anything for a wrong one."""
    return [
        ((-1 if k in right else 1), 0.0) if np.isnan(score) else (0, float(score))
        for k, score in enumerate(np.asarray(row, dtype=float))
    ]


def naive_rank(row, right):
    """By a full sort, wrong candidates first among equals."""
    value = worth(row, right)
    order = sorted(range(len(value)), key=lambda k: (value[k], k not in right), reverse=True)
    return next(place for place, k in enumerate(order) if k in right)


def ranks_over_all_orders(row, right):
    """The rank in every order of the candidates that keeps better ones before worse ones."""
    value = worth(row, right)
    for order in permutations(range(len(value))):
        if all(value[a] >= value[b] for a, b in zip(order, order[1:])):
            yield next(place for place, k in enumerate(order) if k in right)


def distinct_scores(rng, txt2img, images, lift=0.5):
    """N x M float64 without ties, in which right pairs are a share `lift` of the range higher."""
    pairs = images * len(txt2img)
    scores = rng.permutation(pairs).reshape(images, -1).astype(float)
    scores[[txt2img[t] for t in txt2img], list(txt2img)] += int(pairs * lift) + 0.5
    return scores

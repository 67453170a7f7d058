"""Show the samples that training would draw for some captions: type, operator, and what was changed.

  I    a detail does not match the photo        negative
  II   the text says less than the caption      positive
  III  the text says more than the caption      positive

Words that were dropped are shown as [-word-], words that came in as {+word+}; in colour on a terminal.

examples:
  lavis-asym samples --ann train.json                        20 captions, in the terminal
  lavis-asym samples --ann train.json --images images -n 50 --html samples.html
                                                             the same with the photos, as one page to open or send
  lavis-asym samples --ann train.json --epoch 1              what the next epoch draws for the same captions
  lavis-asym samples --ann train.json --policy types.II=0 --policy I.shuffle_words=0
                                                             without type II, and no shuffled words

Read a few dozen before you train: a negative that is true of the photo, or a positive that is not, teaches the model
the wrong thing. Switch the operator that made it off, in the run as here:
  --options datasets.asym_custom.text_processor.train.policy.I.shuffle_words=0
All operators and their weights: lavis_asym/asymmetry/policy.yaml.
"""

import argparse
import os
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence, Tuple

import yaml

from lavis_asym.asymmetry import AsymmetrySamples, Sample, SampleBuilder
from lavis_asym.asymmetry.text import clean, marked
from lavis_asym.cli.page import write_page
from lavis_asym.data.layout import Record, read_records
from lavis_asym.errors import UserError

HELP = "show the generated samples of some captions"
PLAIN = ("[-{}-]", "{{+{}+}}")
COLOURED = ("\033[31;9m{}\033[0m", "\033[32;1m{}\033[0m")
INDENT = 36  # of the texts


class Shown(NamedTuple):
    """A caption and its samples."""

    image: str
    caption: str
    siblings: Tuple[str, ...]
    rows: Tuple[Tuple[str, Sample], ...]  # role and sample; a positive's own negative follows it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ann", required=True, type=Path, help="records in LAVIS's layout, such as train.json")
    parser.add_argument("--images", type=Path, help="the folder that the records' image names lie in, for --html")
    parser.add_argument("-n", type=int, default=20, help="how many captions, each of another image (default 20)")
    parser.add_argument("--html", type=Path, help="also write one self-contained page")
    parser.add_argument("--policy", action="append", default=[], metavar="KEY=VALUE", help="override a key; repeatable")
    parser.add_argument("--seed", type=int, default=42, help="of the choice of captions and the samples (default 42)")
    parser.add_argument("--epoch", type=int, default=0, help="the pass over the data (default 0)")


def run(arguments: argparse.Namespace) -> None:
    """Print the samples, and write the page if asked for.

    Raises:
        UserError: no such file or folder, what is wrong with its records, or a wrong number or policy.
    """
    if arguments.n < 1:
        raise UserError(f"-n {arguments.n}: expected at least 1")
    if arguments.images and not arguments.images.is_dir():
        raise UserError(f"--images {arguments.images}: no such folder")
    try:
        builder = SampleBuilder(_policy(arguments.policy), arguments.seed)
    except ValueError as error:
        raise UserError(f"--policy: {error}") from None
    shown = list(_drawn(builder, read_records(arguments.ann), arguments))
    marks = COLOURED if sys.stdout.isatty() and "NO_COLOR" not in os.environ else PLAIN
    for item in shown:
        print(f"\n{item.image}\n{'caption':{INDENT}}{clean(item.caption)}")
        for role, sample in item.rows:
            print(f"{role:13}{sample.type:5}{sample.operator:18}{marked(sample.base, sample.text, marks)}")
    operators = Counter(sample.operator for item in shown for _, sample in item.rows)
    print("\n" + ", ".join(f"{name} {count}" for name, count in operators.most_common()))
    if arguments.html:
        write_page(arguments.html, shown, arguments.images)
        print(f"written: {arguments.html}")


def _drawn(builder: SampleBuilder, records: List[Record], arguments: argparse.Namespace) -> Iterator[Shown]:
    rng = random.Random(arguments.seed)
    by_id = sorted(records, key=lambda record: record.image_id)
    for record in rng.sample(by_id, min(arguments.n, len(by_id))):
        chosen = rng.randrange(len(record.captions))
        caption = record.captions[chosen]
        given = (side[chosen] if side else () for side in (record.positives, record.negatives))
        samples = builder.build(caption, record.captions, record.image_id, arguments.epoch, *given)
        yield Shown(record.image, caption, record.captions, tuple(_rows(samples)))


def _rows(samples: AsymmetrySamples) -> List[Tuple[str, Sample]]:
    rows = [("negative", sample) for sample in samples.negatives]
    for number, positive in enumerate(samples.positives):
        rows.append(("positive", positive))
        rows += [("its negative", sample) for sample in samples.positive_negatives[number : number + 1]]
    return rows


def _policy(options: Sequence[str]) -> Dict[str, Any]:
    """`types.II=0` -> {"types": {"II": 0}}, all options together."""
    policy: Dict[str, Any] = {}
    for option in options:
        path, equals, value = option.partition("=")
        if not equals:
            raise ValueError(f"{option!r}: expected KEY=VALUE, such as types.II=0")
        *sections, key = path.split(".")
        section = policy
        for name in sections:
            section = section.setdefault(name, {})
            if not isinstance(section, dict):
                raise ValueError(f"{option!r}: {name} was given a value already, {section!r}")
        try:
            section[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ValueError(f"{option!r}: {value!r} is no value in YAML") from None
    return policy

"""Check a folder of shards: every fault is printed with its shard and key, and the exit code is 1 if there is one.

examples:
  lavis-asym check shards/coco                      counts, checksums, tars, captions, ids, image headers
  lavis-asym check shards/coco --deep               also decodes every image
  lavis-asym check shards/coco --deep --fix shards/coco-good
                                                    and packs what is good; left_out.json in it lists the rest

errors: shards that are missing, cut off or not those that were packed; links, paths and other files in a tar; images
that cannot be decoded, are empty, or are absurdly large; captions that are missing or empty; ids that stand twice;
an image that stands in two splits (--fix leaves it out of train); counts that are not true.
notes: an image that stands twice in a split. Captions that stand under several images are counted.
"""

import argparse
import os
from pathlib import Path

from lavis_asym.data.check import check_folder
from lavis_asym.data.repack import repack
from lavis_asym.errors import UserError
from lavis_asym.files import write_atomically

HELP = "find what is wrong with a folder of shards"
REPORT = "check.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="of shards of images or of features")
    parser.add_argument("--deep", action="store_true", help="decode every image")
    parser.add_argument("--fix", type=Path, metavar="OUT", help="pack the good samples into this new folder")
    parser.add_argument("--report", type=Path, help=f"where the report goes (FOLDER/{REPORT})")
    parser.add_argument("--allow-pipe", action="store_true", help="run the commands that the index names as shards")
    parser.add_argument(
        "--processes", type=int, default=min(8, os.cpu_count() or 1), help="at once (the CPUs, up to 8)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print and write the report; 1 if there is an error."""
    report = check_folder(arguments.folder, arguments.deep, arguments.allow_pipe, arguments.processes)
    for finding in report.findings:
        print(f"{finding.level}: {finding.shard}{', key ' + finding.key if finding.key else ''}: {finding.problem}")
    path = arguments.report or arguments.folder / REPORT
    try:
        write_atomically(path, report.to_json().encode())
    except OSError as error:
        raise UserError(f"{path}: the report cannot be written ({error}); give --report FILE") from None
    print(
        f"{report.images} good images with {report.captions} captions, {report.captions_of_several_images} captions "
        f"stand under several images\n{len(report.errors)} error(s){'' if arguments.deep else ' (--deep finds more)'}; "
        f"report: {path}"
    )
    if arguments.fix:
        left_out = repack(arguments.folder, arguments.fix, report)
        for item in left_out:
            print(f"left out: {item['shard']}, key {item['key']}: {item['problem']}")
        print(f"written: {arguments.fix}, without {len(left_out)} sample(s)")
    return 1 if report.errors else 0

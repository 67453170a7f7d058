"""Kill a packing command with SIGKILL at random moments, and compare what resuming leaves with an undisturbed run.

python tests/data/kills.py 20                20 moments of pack (two processes), 20 of features
python tests/data/kills.py 20 features 1     of features alone, other moments
"""

import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

COMMAND = [sys.executable, "-m", "lavis_asym.cli"]


def coco(root, images=60, size=(160, 120)):
    """A few images in LAVIS's own COCO layout; returns the arguments of `pack coco` but --out."""
    annotations = {"train": [], "val": [], "test": []}
    (root / "annotations").mkdir(parents=True)
    for k in range(images):
        split = "val" if k % 10 == 0 else "test" if k % 10 == 1 else "train"
        year = "train2014" if split == "train" and k % 3 else "val2014"  # restval images of train lie in val2014
        name = f"{year}/COCO_{year}_{k:012d}.jpg"
        (root / "images" / year).mkdir(parents=True, exist_ok=True)
        colours = random.Random(k)
        pixels = Image.new("RGB", (8, 6))
        pixels.putdata([tuple(colours.choices(range(256), k=3)) for _ in range(48)])
        pixels.resize(size, Image.Resampling.BICUBIC).save(root / "images" / name)
        captions = [f"photo {k} of a dog, told {c}" for c in range(5)]
        if split == "train":
            records = [{"caption": c, "image": name, "image_id": f"coco_{k}"} for c in captions]
        else:
            records = [{"image": name, "caption": captions}]
        annotations[split] += records
    for split, records in annotations.items():
        (root / "annotations" / f"coco_karpathy_{split}.json").write_text(json.dumps(records))
    return ["pack", "coco", "--annotations", str(root / "annotations"), "--images", str(root / "images")]


def content(folder):
    """Every file's bytes; of the lock file there are none."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def run(arguments, out, seconds=None):
    """Run a command to its end, or kill it after so many seconds; whether it was killed."""
    process = subprocess.Popen(
        [*COMMAND, *arguments, "--out", str(out)], stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        _, error = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return True
    assert process.returncode == 0, (process.returncode, error.decode())
    return False


def survive(arguments, out, whole, kills, seed=0):
    """Kill `kills` times, a new attempt or one that goes on; returns how often, and how many shards were there.

    Args:
        whole: folder that the undisturbed command wrote, compared after every resume.
    """
    rng = random.Random(seed)
    start = time.monotonic()
    shutil.rmtree(out, ignore_errors=True)
    run(arguments, out)
    duration = time.monotonic() - start
    killed, found = 0, []
    while killed < kills:
        shutil.rmtree(out, ignore_errors=True)
        for _ in range(rng.randint(1, 3)):
            if killed < kills and run(arguments, out, rng.uniform(0.2, 1) * duration):
                killed += 1
                found.append(len(list(out.glob("*.tar"))))
        run(arguments, out)
        assert content(out) == content(whole), "other bytes than an undisturbed run's"
    return killed, found


def main(kills, command="both", seed=0):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if command != "features":
            kill_pack(root, kills, seed)
        if command != "pack":
            kill_features(root, kills, seed)


def kill_pack(root, kills, seed):
    pack = [*coco(root, 600, (640, 480)), "--processes", "2", "--shard-samples", "25"]
    run(pack, root / "whole")
    print("pack:", *survive(pack, root / "killed", root / "whole", kills, seed), flush=True)


def kill_features(root, kills, seed):
    small = coco(root / "small", 30)
    run([*small, "--shard-samples", "3"], root / "shards")
    features = ["features", str(root / "shards"), "--model-type", "tiny"]
    run(features, root / "features")
    print("features:", *survive(features, root / "killed", root / "features", kills, seed))


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:3], *map(int, sys.argv[3:4]))

"""The data set as files in LAVIS's retrieval layout, with the truth beside them."""

import hashlib
import json
import os
import re
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, Dict, Iterable, Iterator, Mapping, Sequence, Union

import PIL
from PIL import Image

from lavis_asym.data.scenes.draw import GENERATOR_VERSION, make_scene
from lavis_asym.data.scenes.picture import render
from lavis_asym.data.scenes.truth import SPLITS, Count, Description, Object, Relation, Scene, Thing
from lavis_asym.files import replacing

DEFAULT_COUNTS: Mapping[str, int] = MappingProxyType({"train": 2000, "val": 200, "test": 200})
_TABLES = ("train.json", "val.json", "test.json", "truth.json")
_OUR_IMAGE = re.compile(rf"({'|'.join(SPLITS)})-\d{{5,}}\.jpg")
# Full chroma and the integer transform (Pillow's default): libjpeg's vector code is then exact, unlike deflate's.
_JPEG = {"format": "JPEG", "quality": 90, "subsampling": 0, "optimize": False, "progressive": False}


def write_scenes(
    folder: Union[str, Path], seed: int = 0, counts: Mapping[str, int] = DEFAULT_COUNTS, progress: bool = True
) -> bool:
    """Write the data set in LAVIS's retrieval layout; return whether anything had to be written.

    The folder gets `images/*.jpg`, `train.json` (a record per caption), `val.json` and `test.json` (a record per
    image), `truth.json` (see `read_truth`) and, last, `done.json` with a sha256 over all of them. A folder whose
    `done.json` tells of these very arguments, and whose files still have that sha256, is left as it is; any other is
    written again, and images of an earlier set are removed. Every file appears whole or not at all, so several
    processes may write the same set at once.

    Args:
        seed: any integer.
        counts: the number of images per split, 0 and up; a split left out has none.
        progress: a bar on stderr, which needs tqdm.
    """
    folder = Path(folder)
    wanted = {split: counts.get(split, 0) for split in SPLITS}
    if set(counts) - set(SPLITS) or min(wanted.values()) < 0:
        raise ValueError(f"counts must give numbers from 0 up for splits among {SPLITS}, not {dict(counts)}")
    names = [_image_name(f"{split}-{index:05d}") for split in SPLITS for index in range(wanted[split])]
    done = {"generator": GENERATOR_VERSION, "seed": seed, "counts": wanted}
    if _is_whole(folder, done, names):
        return False
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "done.json").unlink(missing_ok=True)
    _remove_others(folder / "images", names)
    scenes = []
    for scene in _with_bar(seed, wanted, progress):
        scenes.append(scene)
        _write_image(folder / "images" / _image_name(scene.image_id), render(scene))
    for name, content in _tables(scenes).items():
        _write_json(folder / name, content)
    _write_json(folder / "done.json", {**done, "pillow": PIL.__version__, "sha256": _digest(folder, names)})
    return True


def read_truth(folder: Union[str, Path]) -> Dict[str, Scene]:
    """The scenes of a written folder by `image_id`, equal to those of `make_scene`."""
    records = json.loads((Path(folder) / "truth.json").read_bytes())
    return {image_id: _scene_from_record(image_id, record) for image_id, record in records.items()}


def _image_name(image_id: str) -> str:
    return f"{image_id}.jpg"


def _is_whole(folder: Path, done: Mapping[str, Any], names: Iterable[str]) -> bool:
    """Whether `done.json` records these arguments and every file is as it was when that was written."""
    try:
        recorded = dict(json.loads((folder / "done.json").read_bytes()))
        same = all(recorded.get(key) == value for key, value in done.items())
        return same and recorded.get("sha256") == _digest(folder, names)
    except (FileNotFoundError, NotADirectoryError, TypeError, ValueError):
        return False


def _digest(folder: Path, names: Iterable[str]) -> str:
    """A sha256 over the name, length and bytes of every file but `done.json`."""
    digest = hashlib.sha256()
    for name in (*_TABLES, *(f"images/{name}" for name in names)):
        content = (folder / name).read_bytes()
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _remove_others(images: Path, names: Iterable[str]) -> None:
    """Remove images of an earlier set that are not among `names`; files of other naming stay."""
    for name in set(os.listdir(images)) - set(names):
        if _OUR_IMAGE.fullmatch(name):
            (images / name).unlink(missing_ok=True)


def _with_bar(seed: int, counts: Mapping[str, int], progress: bool) -> Iterator[Scene]:
    scenes = (make_scene(seed, split, index) for split in SPLITS for index in range(counts[split]))
    if not progress:
        return scenes
    from tqdm import tqdm

    return iter(tqdm(scenes, total=sum(counts.values()), desc="scenes", unit="image"))


def _write_image(path: Path, image: Image.Image) -> None:
    with replacing(path) as partial:
        image.save(partial, **_JPEG)


def _write_json(path: Path, content: Any) -> None:
    with replacing(path) as partial:
        partial.write_bytes((json.dumps(content) + "\n").encode("ascii"))


def _tables(scenes: Sequence[Scene]) -> Dict[str, Any]:
    """What each of `_TABLES` holds."""
    by_split = {split: [scene for scene in scenes if scene.image_id.startswith(split)] for split in SPLITS}
    return {
        "train.json": [
            {"image": _image_name(scene.image_id), "caption": caption, "image_id": scene.image_id}
            for scene in by_split["train"]
            for caption in scene.captions
        ],
        **{
            f"{split}.json": [
                {"image": _image_name(scene.image_id), "caption": list(scene.captions), "image_id": scene.image_id}
                for scene in by_split[split]
            ]
            for split in ("val", "test")
        },
        "truth.json": {scene.image_id: _record_from_scene(scene) for scene in scenes},
    }


def _record_from_scene(scene: Scene) -> Dict[str, Any]:
    """The scene as JSON values, its `image_id` left to be the key; attributes a thing is silent on are left out."""
    return {
        "background": scene.background,
        "objects": [asdict(obj) for obj in scene.objects],
        "captions": scene.captions,
        "mentions": scene.mentions,
        "facts": [
            {
                "things": [_record_from_thing(thing) for thing in facts.things],
                "relations": [asdict(relation) for relation in facts.relations],
                "counts": [{"number": c.number, "thing": _record_from_thing(c.thing)} for c in facts.counts],
                "wording": facts.wording,
            }
            for facts in scene.facts
        ],
    }


def _record_from_thing(thing: Thing) -> Dict[str, str]:
    return {name: value for name, value in asdict(thing).items() if value is not None}


def _scene_from_record(image_id: str, record: Mapping[str, Any]) -> Scene:
    return Scene(
        image_id=image_id,
        objects=tuple(Object(**{**obj, "box": tuple(obj["box"])}) for obj in record["objects"]),
        captions=tuple(record["captions"]),
        mentions=tuple(tuple(indices) for indices in record["mentions"]),
        facts=tuple(
            Description(
                things=tuple(Thing(**thing) for thing in facts["things"]),
                relations=tuple(Relation(**relation) for relation in facts["relations"]),
                counts=tuple(Count(count["number"], Thing(**count["thing"])) for count in facts["counts"]),
                wording=facts["wording"],
            )
            for facts in record["facts"]
        ),
        background=record["background"],
    )

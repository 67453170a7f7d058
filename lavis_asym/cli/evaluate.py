"""Evaluate a model on a split: recalls with honest ranks and intervals, duplicates, graded relevance, the asymmetry
probe, and a report with pictures.

examples:
  lavis-asym evaluate --root DIR --checkpoint output/custom/RUN/checkpoint_best.pth --out output/val
                                        our model, on DIR/val.json and DIR/images
  lavis-asym evaluate --root DIR --split test --checkpoint ... --protocol flickr30k_1k --out output/test
  lavis-asym evaluate --shards shards/coco-features --split test --checkpoint ... --protocol coco_5k --k-test 256 \\
      --out output/coco                 packed images or cached features, in two stages
  lavis-asym evaluate --root DIR --model blip_retrieval --model-type coco --out output/blip
                                        one of LAVIS's own retrieval models, through the same tables
  lavis-asym evaluate --scores output/val/val.run.json.gz
                                        the table of a finished evaluation again, without the model

DIR is in LAVIS's retrieval layout. Equal scores count against the model unless --ties expected. --k-test 0 scores every
pair exactly; with k only the best k of each query, and what that loses (of our model) is measured on a sample and
printed. The folder --out gets <split>.json, .md, .html (open it in a browser), .run.json.gz (for `lavis-asym compare`)
and, where TensorBoard is installed, tensorboard/. The same command goes on where it was stopped.
"""

import argparse
import sys
from pathlib import Path

from lavis_asym.cli.compare import read_run
from lavis_asym.data.layout import read_layout
from lavis_asym.data.shards import read_index
from lavis_asym.errors import UserError, near_matches
from lavis_asym.evaluation import PROTOCOLS, TIES, protocol_line, recall_table, trec_qrels, trec_run
from lavis_asym.evaluation.run_files import DIRECTIONS, SUFFIX
from lavis_asym.files import write_atomically
from lavis_asym.registration import model_class, register_all
from lavis_asym.report import write_scalars
from lavis_asym.run import quiet

HELP = "evaluate a model, ours or one of LAVIS's, and write a report"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--root", type=Path, metavar="DIR", help="in LAVIS's layout: val.json or test.json, and images/")
    data.add_argument("--shards", type=Path, metavar="DIR", help="that lavis-asym pack or features wrote")
    data.add_argument("--scores", type=Path, metavar="FILE", help="a run file, to score again; takes --ties alone")
    parser.add_argument("--split", default="val", help="val (default) or test")
    parser.add_argument("--model", default="asym_retrieval", help="its name in LAVIS (default: asym_retrieval)")
    parser.add_argument("--model-type", help="of the model, such as coco; ours: tiny, or what the checkpoint says")
    parser.add_argument("--checkpoint", help="path or URL; LAVIS's own models bring theirs")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the results (not with --scores)")
    parser.add_argument("--protocol", default="custom", help="custom, flickr30k_1k, coco_5k (and COCO 1K) or coco_1k")
    parser.add_argument("--ties", default="against", choices=TIES, help="how equal scores count")
    parser.add_argument(
        "--k-test", type=int, default=0, metavar="K",
        help="candidates of each query; 0 (default): every pair; of LAVIS's models as many as they take",
    )  # fmt: skip
    parser.add_argument("--resamples", type=int, default=1000, help="of the 95%% intervals; 0 for none (default: 1000)")
    parser.add_argument("--choices", nargs="+", default=[], metavar="FILE", help="*_choices.json or SugarCrepe files")
    parser.add_argument("--karpathy", metavar="FILE", help="dataset_coco.json, to count its train photos apart")
    parser.add_argument("--coco-captions", metavar="FILE", help="captions_val2014.json: adds ECCV Caption and CxC")
    parser.add_argument("--trec", action="store_true", help="write runs and qrels for trec_eval too")
    parser.add_argument("--no-graded", action="store_true", help="without NDCG@25")
    parser.add_argument("--no-probe", action="store_true", help="without the asymmetry probe")
    parser.add_argument("--batch-size", type=int, default=64, help="images at once in the encoder (default: 64)")
    parser.add_argument("--device", help="default: cuda where there is one, else cpu")
    parser.add_argument("--seed", type=int, default=42, help="of samples and intervals (default: 42)")


def run(arguments: argparse.Namespace) -> None:
    """Print the table, and where the report lies."""
    if arguments.scores:
        _refuse_beside_scores(arguments)
        metrics, protocol = _scored_again(arguments.scores, arguments.ties)
        print(f"{protocol_line(protocol)}\n{recall_table(metrics)}")
        return
    if arguments.out is None:
        raise UserError("--out: not given; expected a folder for the results, such as output/val")
    if arguments.protocol not in PROTOCOLS:
        raise UserError(f"--protocol: unknown {arguments.protocol!r}; {near_matches(arguments.protocol, PROTOCOLS)}")
    for path in (*arguments.choices, arguments.karpathy, arguments.coco_captions):
        if path is not None and not Path(path).is_file():
            raise UserError(f"{path}: no such file")
    for name, least in (("k_test", 0), ("resamples", 0), ("batch_size", 1)):
        if getattr(arguments, name) < least:
            raise UserError(f"--{name.replace('_', '-')}: expected at least {least}, got {getattr(arguments, name)}")
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out: {arguments.out} cannot be made a folder ({error})") from None
    quiet()
    print("Importing LAVIS (takes about ten seconds) ...", file=sys.stderr)
    result = _evaluated(arguments)
    print(f"{protocol_line(result['protocol'])}\n{recall_table(result)}")
    if "two_stage" in result:
        from lavis_asym.assessment import two_stage_line

        print(two_stage_line(result["two_stage"]))
    print(f"Results: {arguments.out / arguments.split}.json, .md, .html and .run.json.gz")


def _refuse_beside_scores(arguments: argparse.Namespace) -> None:
    """Raise UserError if there are options that say nothing about a finished evaluation."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    alone = vars(parser.parse_args(["--scores", str(arguments.scores), "--ties", arguments.ties]))
    others = [f"--{name.replace('_', '-')}" for name, value in alone.items() if getattr(arguments, name) != value]
    if others:
        raise UserError(f"{', '.join(others)}: cannot go with --scores, which takes --ties alone and no model")


def _scored_again(path: Path, ties: str):
    run = read_run(path)
    return run.ranked.metrics(ties), {**run.protocol, "ties": ties}


def _evaluated(arguments: argparse.Namespace):
    from torch.utils.data import DataLoader

    from lavis_asym.assessment import Settings, assess, check_settings, protocol_of, rank
    from lavis_asym.scorers import scorer

    model, processors, training = _model(arguments)
    dataset = _dataset(arguments, model, *processors)
    settings = Settings(
        protocol=arguments.protocol,
        ties=arguments.ties,
        k_test=arguments.k_test,
        resamples=arguments.resamples,
        graded=not arguments.no_graded,
        probe=not arguments.no_probe,
        choices=tuple(arguments.choices),
        karpathy=arguments.karpathy,
        coco_captions=arguments.coco_captions,
        policy=training.policy,
        seed=arguments.seed,
    )
    check_settings(settings, {arguments.split: dataset}, tested=arguments.split)
    loader = DataLoader(dataset, arguments.batch_size, collate_fn=dataset.collater)
    own = scorer(model, loader, cache=arguments.out)
    scored = own.scores(settings.k_test)
    protocol = protocol_of(
        model,
        dataset,
        scored,
        settings,
        data=(arguments.root or arguments.shards).resolve().name,
        split=arguments.split,
        model=arguments.model,
        epoch=training.passes,
        selection=training.selection,
    )
    result = assess(own, scored, rank(scored, dataset, settings), protocol, settings, arguments.out, arguments.split)
    write_scalars(arguments.out / "tensorboard", arguments.split, result, step=0)
    if arguments.trec:
        _write_trec(arguments.out, arguments.split)
    own.forget(settings.k_test)
    return result


def _write_trec(folder: Path, split: str) -> None:
    run = read_run(folder / f"{split}{SUFFIX}")
    for direction in DIRECTIONS:
        write_atomically(folder / f"{split}.{direction}.trec", trec_run(run, direction).encode())
        write_atomically(folder / f"{split}.{direction}.qrels", trec_qrels(run, direction).encode())


def _model(arguments: argparse.Namespace):
    """The model in eval mode, its image and text processors, and how it was trained."""
    from lavis.models import load_model_and_preprocess

    from lavis_asym.config import find_device
    from lavis_asym.models.checkpoint import Training, load_checkpointed

    device = find_device(arguments.device, "--device")
    register_all()
    kind = model_class(arguments.model)
    if arguments.model == "asym_retrieval":
        if arguments.checkpoint is None:
            raise UserError("--checkpoint: not given; expected one that a run saved, RUN/checkpoint_best.pth")
        model, training = load_checkpointed(arguments.checkpoint, arguments.model_type)
        return model.to(device).eval(), (model.processors["vis"]["eval"], model.processors["text"]["eval"]), training
    if not hasattr(kind, "compute_sim_matrix"):
        raise UserError(f"--model: {arguments.model} has no compute_sim_matrix, so it cannot be evaluated on retrieval")
    types = kind.PRETRAINED_MODEL_CONFIG_DICT
    if arguments.model_type not in types:
        known = near_matches(arguments.model_type, types) if arguments.model_type else f"known: {', '.join(types)}"
        raise UserError(f"--model-type: {arguments.model} has no type {arguments.model_type!r}; {known}")
    if arguments.shards and read_index(arguments.shards)["kind"] == "features":
        raise UserError(
            f"--shards: {arguments.shards} holds features, but {arguments.model} takes images; give the folder that "
            "lavis-asym pack wrote"
        )
    model, vis, text = load_model_and_preprocess(arguments.model, arguments.model_type, is_eval=True, device=device)
    if arguments.checkpoint:
        model.load_checkpoint(arguments.checkpoint)
    return model, (vis["eval"], text["eval"]), Training(None, None)


def _dataset(arguments: argparse.Namespace, model, vis_processor, text_processor):
    from lavis_asym.data.evaluation_set import EvaluationSet, FolderSet
    from lavis_asym.encoders import check_features, features_header

    if arguments.root:
        source = read_layout(arguments.root)
        splits = source.splits
    else:
        index = read_index(arguments.shards)
        splits = index["splits"]
        if index["kind"] == "features":
            check_features(arguments.shards, index["features"], features_header(model.vision_encoder))
    if arguments.split not in splits:
        raise UserError(f"--split: {arguments.split!r} is none of {', '.join(splits)}, which the data has")
    if arguments.root:
        return FolderSet(splits[arguments.split], source.images, vis_processor, text_processor)
    return EvaluationSet(arguments.shards, arguments.split, vis_processor, text_processor)

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
pair exactly; with k only the best k of each query, and what that loses is measured on a sample and printed. The folder
--out gets <split>.json, .md, .html (open it in a browser) and .run.json.gz (for `lavis-asym compare`). The same command
goes on where it was stopped.
"""

import argparse
import sys
from pathlib import Path

from lavis_asym.cli.compare import read_run

HELP = "evaluate a model, ours or one of LAVIS's, and write a report"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--root", type=Path, metavar="DIR", help="in LAVIS's layout: val.json or test.json, and images/")
    data.add_argument("--shards", type=Path, metavar="DIR", help="that lavis-asym pack or features wrote")
    data.add_argument("--scores", type=Path, metavar="FILE", help="a run file, to score again")
    parser.add_argument("--split", default="val", help="val (default) or test")
    parser.add_argument("--model", default="asym_retrieval", help="its name in LAVIS (default: asym_retrieval)")
    parser.add_argument("--model-type", help="of the model, such as coco; ours: tiny, or what the checkpoint says")
    parser.add_argument("--checkpoint", help="path or URL; LAVIS's own models bring theirs")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the results (not with --scores)")
    parser.add_argument("--protocol", default="custom", help="custom, flickr30k_1k, coco_5k (and COCO 1K) or coco_1k")
    parser.add_argument("--ties", default="against", choices=("against", "expected"), help="how equal scores count")
    parser.add_argument("--k-test", type=int, metavar="K", help="0: every pair (ours); default for LAVIS's models: 256")
    parser.add_argument("--resamples", type=int, default=1000, help="of the 95%% intervals; 0 for none (default: 1000)")
    parser.add_argument("--choices", nargs="+", default=[], metavar="FILE", help="*_choices.json or SugarCrepe files")
    parser.add_argument("--karpathy", metavar="FILE", help="dataset_coco.json, to count its train photos apart")
    parser.add_argument("--coco-captions", metavar="FILE", help="captions_val2014.json: adds ECCV Caption and CxC")
    parser.add_argument("--no-graded", action="store_true", help="without NDCG@25")
    parser.add_argument("--no-probe", action="store_true", help="without the asymmetry probe")
    parser.add_argument("--batch-size", type=int, default=64, help="images at once in the encoder (default: 64)")
    parser.add_argument("--device", help="default: cuda where there is one, else cpu")
    parser.add_argument("--seed", type=int, default=42, help="of samples and intervals (default: 42)")


def run(arguments: argparse.Namespace) -> None:
    """Print the table, and where the report lies."""
    from lavis_asym.errors import UserError, near_matches
    from lavis_asym.evaluation import PROTOCOLS, protocol_line, recall_table
    from lavis_asym.run import quiet

    if arguments.scores:
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
    quiet()
    print("Importing LAVIS (takes about ten seconds) ...", file=sys.stderr)
    result = _evaluated(arguments)
    print(f"{protocol_line(result['protocol'])}\n{recall_table(result)}")
    if "two_stage" in result:
        print(f"two stages: the largest difference of a sampled recall is {result['two_stage']['largest']:.2f} points")
    print(f"Results: {arguments.out / arguments.split}.json, .md, .html and .run.json.gz")


def _scored_again(path: Path, ties: str):
    run = read_run(path)
    return run.ranked.metrics(ties), {**run.protocol, "ties": ties}


def _evaluated(arguments: argparse.Namespace):
    from torch.utils.data import DataLoader

    from lavis_asym.assessment import Settings, assess, protocol_of, rank
    from lavis_asym.scorers import AsymScorer, scorer

    model, processors, policy = _model(arguments)
    dataset = _dataset(arguments, *processors)
    loader = DataLoader(dataset, arguments.batch_size, collate_fn=dataset.collater)
    own = scorer(model, loader)
    k_test = arguments.k_test if arguments.k_test is not None else 0 if isinstance(own, AsymScorer) else 256
    settings = Settings(
        protocol=arguments.protocol,
        ties=arguments.ties,
        k_test=k_test,
        resamples=arguments.resamples,
        graded=not arguments.no_graded,
        probe=not arguments.no_probe,
        choices=tuple(arguments.choices),
        karpathy=arguments.karpathy,
        coco_captions=arguments.coco_captions,
        policy=policy,
        seed=arguments.seed,
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    scored = own.scores(k_test, arguments.out)
    ranked = rank(scored, dataset, settings)
    data = str((arguments.root or arguments.shards).name)
    protocol = protocol_of(
        model, dataset, scored, settings, data=data, split=arguments.split, model=arguments.model, epoch="checkpoint"
    )
    result = assess(own, scored, ranked, protocol, settings, arguments.out, arguments.split)
    own.forget(k_test, arguments.out)
    return result


def _model(arguments: argparse.Namespace):
    """The model in eval mode, its image and text processors, and the policy of the samples that it was trained with."""
    import torch
    from lavis.models import load_model_and_preprocess

    from lavis_asym.errors import UserError, near_matches
    from lavis_asym.models.checkpoint import load_checkpointed
    from lavis_asym.registration import model_class, register_all

    device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    register_all()
    kind = model_class(arguments.model)
    if arguments.model == "asym_retrieval":
        if arguments.checkpoint is None:
            raise UserError("--checkpoint: not given; expected one that a run saved, RUN/checkpoint_best.pth")
        model, policy = load_checkpointed(arguments.checkpoint, arguments.model_type)
        return model.to(device).eval(), (model.processors["vis"]["eval"], model.processors["text"]["eval"]), policy
    if not hasattr(kind, "compute_sim_matrix"):
        raise UserError(f"--model: {arguments.model} has no compute_sim_matrix, so it cannot be evaluated on retrieval")
    types = kind.PRETRAINED_MODEL_CONFIG_DICT
    if arguments.model_type not in types:
        known = near_matches(arguments.model_type, types) if arguments.model_type else f"known: {', '.join(types)}"
        raise UserError(f"--model-type: {arguments.model} has no type {arguments.model_type!r}; {known}")
    model, vis, text = load_model_and_preprocess(arguments.model, arguments.model_type, is_eval=True, device=device)
    if arguments.checkpoint:
        model.load_checkpoint(arguments.checkpoint)
    return model, (vis["eval"], text["eval"]), None


def _dataset(arguments: argparse.Namespace, vis_processor, text_processor):
    from lavis_asym.data.evaluation_set import EvaluationSet, FolderSet
    from lavis_asym.data.layout import read_layout
    from lavis_asym.data.shards import read_index
    from lavis_asym.errors import UserError

    if arguments.root:
        source = read_layout(arguments.root)
        splits = source.splits
    else:
        splits = read_index(arguments.shards)["splits"]
    if arguments.split not in splits:
        raise UserError(f"--split: {arguments.split!r} is none of {', '.join(splits)}, which the data has")
    if arguments.root:
        return FolderSet(splits[arguments.split], source.images, vis_processor, text_processor)
    return EvaluationSet(arguments.shards, arguments.split, vis_processor, text_processor)

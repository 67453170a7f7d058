"""The LAVIS model `asym_retrieval`: frozen encoders, projections into the joint space, hierarchical fusion, AsCL."""

import math
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from lavis.models import load_preprocess
from lavis.models.base_model import BaseModel
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor, nn

from lavis_asym.asymmetry.embedding import perturb
from lavis_asym.encoders import (
    VISION_ENCODERS,
    TextEncoder,
    TextFeatures,
    VisionEncoder,
    VisionFeatures,
    build_text_encoder,
    build_vision_encoder,
    check_features,
    features_header,
)
from lavis_asym.errors import UserError
from lavis_asym.fusion import HierarchicalFusion
from lavis_asym.losses import (
    Temperature,
    ascl_loss,
    gather,
    gather_objects,
    gather_texts,
    info_nce_loss,
    triplet_loss,
    warm_up,
)
from lavis_asym.models import gallery
from lavis_asym.models.batch import TERMS, known_pairs, read_captions, read_texts, term_columns
from lavis_asym.models.checkpoint import load_trained, read_checkpoint
from lavis_asym.models.settings import OBJECTIVES, setting_problems
from lavis_asym.paths import config_path

MODES = ("multimodal", "image", "text")
IMAGES_AT_ONCE = 32


class AsymFeatures(NamedTuple):
    """Projected features in the joint space of width D; None for what was not given."""

    image_vectors: Optional[Tensor]  # N x D
    image_regions: Optional[Tensor]  # N x R x D
    text_tokens: Optional[Tensor]  # M x L x D
    text_mask: Optional[Tensor]  # M x L bool, True on real tokens


class AsymRetrieval(BaseModel):
    """Scores every image with every text alike; trains with generated positives and negatives.

    Args:
        vision_encoder, text_encoder: frozen backbones.
        width: width D of the joint space.
        fusion: arguments of `fusion.HierarchicalFusion`.
        dropout: of the encoders' features while training, in [0, 1).
        temperature, learn_temperature, temperature_floor: of the contrastive loss, see `losses.Temperature`.
        objective: in OBJECTIVES; "info_nce" and "triplet" are baselines that train on captions alone.
        caption_weight: w of `losses.ascl_loss`, in [0, 1].
        siblings, outranking: policies of `losses.contrastive_loss`.
        margin, margin_warmup_epochs: of `losses.triplet_loss`, whose hardness rises over that many epochs.
    Raises:
        ValueError: an unknown objective, a temperature or a setting of the fusion out of its range.
    """

    PRETRAINED_MODEL_CONFIG_DICT = {"tiny": config_path("models/asym_retrieval_tiny.yaml")}
    DEFAULT_MODEL_TYPE = "tiny"

    def __init__(
        self,
        vision_encoder: VisionEncoder,
        text_encoder: TextEncoder,
        width: int = 256,
        fusion: Optional[Dict[str, Any]] = None,
        dropout: float = 0.1,
        temperature: float = 0.05,
        learn_temperature: bool = False,
        temperature_floor: float = 0.01,
        objective: str = "ascl",
        caption_weight: float = 0.5,
        siblings: str = "masked",
        outranking: str = "keep",
        margin: float = 0.2,
        margin_warmup_epochs: float = 1,
    ):
        super().__init__()
        if objective not in OBJECTIVES:
            raise ValueError(f"objective must be one of {OBJECTIVES}, got {objective!r}")
        self.vision_encoder, self.text_encoder = vision_encoder, text_encoder
        self.vector_projection = nn.Linear(vision_encoder.width, width)
        self.region_projection = nn.Linear(vision_encoder.width, width)
        self.token_projection = nn.Linear(text_encoder.width, width)
        self.dropout = nn.Dropout(dropout)
        self.fusion = HierarchicalFusion(width, **(fusion or {}))
        # local similarity alone takes no vectors, and DistributedDataParallel waits for every gradient
        self.vector_projection.requires_grad_(self.fusion.image_context is not None)
        self.temperature = Temperature(temperature, learn_temperature, temperature_floor)
        self.temperature.requires_grad_(objective != "triplet")
        self.objective, self.caption_weight, self.siblings, self.outranking = (
            objective, caption_weight, siblings, outranking
        )  # fmt: skip
        self.margin, self.margin_warmup_epochs = margin, margin_warmup_epochs
        self.processors: Dict[str, Dict[str, Any]] = {}

    @classmethod
    def from_config(cls, cfg) -> "AsymRetrieval":
        """A model as a `model` section describes it (configs/models/asym_retrieval_tiny.yaml names every key)."""
        problems = list(setting_problems(cfg))
        if problems:
            raise UserError.from_problems(
                f"asym_retrieval: {len(problems)} problem(s) in the model's section:", problems
            )
        model = cls(
            build_vision_encoder(cfg.vision_encoder, cfg.features),
            build_text_encoder(cfg.text_encoder),
            width=cfg.width,
            fusion=OmegaConf.to_container(cfg.fusion, resolve=True),
            dropout=cfg.dropout,
            temperature=cfg.temperature,
            learn_temperature=cfg.learn_temperature,
            temperature_floor=cfg.temperature_floor,
            objective=cfg.objective,
            caption_weight=cfg.caption_weight,
            siblings=cfg.siblings,
            outranking=cfg.outranking,
            margin=cfg.margin,
            margin_warmup_epochs=cfg.margin_warmup_epochs,
        )
        defaults = OmegaConf.load(cls.default_config_path(cfg.get("model_type")))
        for processor in defaults.preprocess.vis_processor.values():
            processor.encoder = cfg.vision_encoder
        vis, text = load_preprocess(defaults.preprocess)
        model.processors = {"vis": vis, "text": text}
        if cfg.get("finetuned"):
            model.load_checkpoint(cfg.finetuned)
        return model

    def train(self, mode: bool = True) -> "AsymRetrieval":
        """The frozen encoders stay in eval mode."""
        super().train(mode)
        self.vision_encoder.eval()
        self.text_encoder.eval()
        return self

    def forward(self, samples: Dict[str, Any]) -> Dict[str, Tensor]:
        """The losses of a batch of N images; while training in several processes, of the batches of all of them joined.

        Every process scores its own images against the texts of all (see `losses.gather`).

        Args:
            samples: `image` (N x 3 x S x S) or cached `vector` (N x D) and `regions` (N x R x D); `image_id` (N int);
                `text_input`: N captions, or the dict of lists that `processors.AsymCaptionProcessor` makes of them;
                `siblings`, optional: all captions of each image, joined (see `joined`);
                `epoch`, `iters` and `num_iters_per_epoch`, as LAVIS's training adds them.
        Returns:
            `loss` is what to minimise; with the objective "ascl", its terms too (see `losses.ascl_loss`).
        """
        image = self.encode_images(samples)
        image_ids = torch.as_tensor(samples["image_id"], device=image.vectors.device)
        texts = read_texts(samples["text_input"], image_ids.tolist())
        captions = read_captions(samples["text_input"], samples.get("siblings"))
        if self.objective != "ascl":
            texts = [text for text in texts if text.is_caption]
        text = self.encode_texts([text.text for text in texts])
        text = TextFeatures(perturb(text.tokens, text.mask, [text.operator for text in texts]), text.mask)
        if self.training:
            texts, text = gather_objects(texts), gather_texts(*text)
        scores, known = self.fusion(image, text), known_pairs(captions, image_ids.tolist(), texts).to(image_ids.device)
        if self.training:
            scores, known, image_ids = gather(scores), gather(known), gather(image_ids)
        caption, positive = (term_columns(term, texts, scores, known) for term in TERMS)
        if self.objective == "ascl":
            policies = {"siblings": self.siblings, "outranking": self.outranking}
            return ascl_loss(
                caption, positive, image_ids,
                temperature=self.temperature(), caption_weight=self.caption_weight, **policies,
            )  # fmt: skip
        scores, text_ids, known = caption
        if self.objective == "info_nce":
            loss = info_nce_loss(scores, image_ids, text_ids, known, self.temperature(), siblings=self.siblings)
        else:
            hardness = self._hardness(samples)
            loss = triplet_loss(scores, image_ids, text_ids, known, margin=self.margin, hardness=hardness)
        return {"loss": loss}

    def _hardness(self, samples: Dict[str, Any]) -> float:
        if "iters" not in samples:
            return 1.0
        steps = samples["num_iters_per_epoch"]
        return warm_up(samples["epoch"] * steps + samples["iters"], self.margin_warmup_epochs * steps)

    @torch.no_grad()
    def extract_features(self, samples: Dict[str, Any], mode: str = "multimodal") -> AsymFeatures:
        """Features of images and texts in the joint space, as the fusion head takes them.

        Args:
            samples: `image` (N x 3 x S x S pixels) or cached features (see `forward`), and/or `text_input` (M str).
            mode: as in LAVIS, "image" or "text" leave the other out.
        Returns:
            AsymFeatures, float32.
        Raises:
            ValueError: an unknown mode, or samples with nothing for it.
        """
        if mode not in MODES:
            raise ValueError(f"mode must be one of {MODES}, got {mode!r}")
        image = text = (None, None)
        if mode != "text" and ("image" in samples or "regions" in samples):
            image = self.encode_images(samples)
        if mode != "image" and "text_input" in samples:
            text = self.encode_texts(_listed(samples["text_input"]))
        if image[0] is None and text[0] is None:
            raise ValueError(f"expected image, or vector and regions, or text_input for mode {mode}, got {[*samples]}")
        return AsymFeatures(*image, *text)

    def similarity(self, images: Sequence[Union[str, Path, Image.Image]], texts: Sequence[str]) -> Tensor:
        """Scores of all pairs, each computed alike.

        Args:
            images: N PIL images or paths; one alone counts as a list of it.
            texts: M texts, likewise.
        Returns:
            N x M float32 in [-1, 1], on the CPU.
        Raises:
            TypeError: what is neither an image nor a path, or no text.
        """
        images, texts = _listed(images), _listed(texts)
        for given, expected in ((images, (str, Path, Image.Image)), (texts, (str,))):
            for item in given:
                if not isinstance(item, expected):
                    names = " or ".join(kind.__name__ for kind in expected)
                    raise TypeError(f"expected {names}, got {type(item).__name__}")
        if not images or not texts:
            return torch.zeros(len(images), len(texts))
        transform, clean = self.processors["vis"]["eval"], self.processors["text"]["eval"]
        pixels = (transform(image if isinstance(image, Image.Image) else Image.open(image)) for image in images)
        batches = ({"image": torch.stack(batch)} for batch in _batched(pixels, IMAGES_AT_ONCE))
        features = self.encode_gallery(batches, math.ceil(len(images) / IMAGES_AT_ONCE))
        return torch.from_numpy(self.score_gallery(features, [clean(text) for text in texts]).matrix)

    def compute_sim_matrix(self, data_loader, task_cfg) -> Tuple[np.ndarray, np.ndarray]:
        """Scores of a LAVIS retrieval evaluation set: images x texts and its transpose.

        Args:
            data_loader: batches of `image` or cached features; `data_loader.dataset.text` lists the texts.
            task_cfg: the run's configuration, as LAVIS passes it; `k_test` is read, see `score_gallery`.
        """
        images = self.encode_gallery(data_loader, len(data_loader))
        scores = self.score_gallery(images, data_loader.dataset.text, task_cfg.get("k_test", 0)).matrix
        return scores, scores.T

    def encode_gallery(
        self, batches: Iterable[Dict[str, Any]], count: int, folder: Optional[Path] = None
    ) -> VisionFeatures:
        """See `gallery.encode_gallery`."""
        with self._evaluating():
            return gallery.encode_gallery(self, batches, count, folder)

    def score_gallery(
        self,
        images: VisionFeatures,
        texts: Sequence[str],
        k: int = 0,
        path: Optional[Path] = None,
        shared: bool = False,
    ) -> gallery.GalleryScores:
        """See `gallery.score_gallery`."""
        with self._evaluating():
            return gallery.score_gallery(self, images, texts, k, path, shared)

    def score_own(self, images: VisionFeatures, texts: Sequence[Sequence[str]]) -> List[np.ndarray]:
        """See `gallery.score_own`."""
        with self._evaluating():
            return gallery.score_own(self, images, texts)

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        was_training = self.training
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.train(was_training)

    def encode_images(self, samples: Dict[str, Any]) -> VisionFeatures:
        """Projected features of N images, given as in `forward`."""
        features = self._encode_image(samples)
        vectors, regions = self.dropout(features.vectors), self.dropout(features.regions)
        return VisionFeatures(self.vector_projection(vectors), self.region_projection(regions))

    def _encode_image(self, samples: Dict[str, Any]) -> VisionFeatures:
        if "regions" not in samples:
            return self.vision_encoder(samples["image"].to(self.device))
        vectors, regions = samples["vector"].to(self.device).float(), samples["regions"].to(self.device).float()
        if regions.shape[-1] != self.vision_encoder.width:
            raise UserError(
                f"the features have width {regions.shape[-1]}, the model takes those of "
                f"{self.vision_encoder.name}, of width {self.vision_encoder.width}"
            )
        return VisionFeatures(vectors, regions)

    def encode_texts(self, texts: Sequence[str]) -> TextFeatures:
        """Projected features of M texts. Equal texts are encoded once."""
        place = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        features = self.text_encoder(list(place))
        rows = [place[text] for text in texts]
        tokens = features.tokens[rows]
        return TextFeatures(self.token_projection(self.dropout(tokens)), features.mask[rows])

    def load_checkpoint(self, url_or_filename: Union[str, Path]) -> None:
        """Load what a run saved; parameters of the frozen encoders may be left out.

        Raises:
            UserError: no such file, no checkpoint, or one of another architecture.
        """
        self.load_weights(read_checkpoint(url_or_filename), url_or_filename)

    def load_weights(self, checkpoint: Dict[str, Any], name: Union[str, Path]) -> None:
        """See `load_checkpoint`; `checkpoint` is its content, `name` stands in errors."""
        self.check_trained_on(checkpoint, name)
        load_trained(self, checkpoint.get("model", checkpoint), f"checkpoint {name}")

    def check_trained_on(self, checkpoint: Dict[str, Any], name: Union[str, Path]) -> None:
        """Raise UserError if a checkpoint says that it was trained on other image features than this model's."""
        trained = (checkpoint.get("config") or {}).get("model") or {}
        if trained.get("vision_encoder") in VISION_ENCODERS:
            expected = trained.get("features") or features_header(VISION_ENCODERS[trained["vision_encoder"]])
            check_features(f"checkpoint {name}", features_header(self.vision_encoder), expected)


def _listed(given: Any) -> List[Any]:
    return [given] if isinstance(given, (str, Path, Image.Image)) else list(given)


def _batched(items: Iterable[Any], size: int) -> Iterator[List[Any]]:
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch

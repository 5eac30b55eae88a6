"""Language and speech models of transformers in tiny configurations."""

from __future__ import annotations

import torch
import transformers as hf

from spec import Input, Pick, Spec, dynamo, torchscript

WORDS = 97
BATCH_AND_TIME = {0: "batch", 1: "time"}


def ids(name: str, high: int = WORDS - 1, low: int = 0, time: int = 7, axes: dict | None = None) -> Input:
    axes = BATCH_AND_TIME if axes is None else axes
    return Input(name, (2, time), torch.int64, low, high, axes)


def logits(output):
    return output.logits


def bert() -> torch.nn.Module:
    config = hf.BertConfig(
        vocab_size=WORDS,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=40,
        max_position_embeddings=32,
    )
    model = hf.BertForSequenceClassification(config)
    return Pick(model, logits, ("input_ids", "attention_mask", "token_type_ids"))


def gpt2() -> torch.nn.Module:
    config = hf.GPT2Config(vocab_size=WORDS, n_positions=32, n_embd=24, n_layer=2, n_head=3, n_inner=40)
    return Pick(hf.GPT2LMHeadModel(config), logits, ("input_ids",), use_cache=False)


def llama() -> torch.nn.Module:
    config = hf.LlamaConfig(
        vocab_size=WORDS,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=4,
        max_position_embeddings=32,
    )
    return Pick(hf.LlamaForCausalLM(config), logits, ("input_ids",), use_cache=False)


BERT_INPUTS = (ids("input_ids"), ids("attention_mask", 1), ids("token_type_ids", 1))

SPECS = [
    Spec("bert", "transformers", bert, BERT_INPUTS, (dynamo(18), torchscript(14))),
    Spec("gpt2", "transformers", gpt2, (ids("input_ids"),), (dynamo(18), torchscript(14))),
    Spec("llama_gqa", "transformers", llama, (ids("input_ids"),), (dynamo(18), dynamo(23), torchscript(17))),
]

"""Golden values for data of text: tokens by Hugging Face's tokenizers, cross-entropies by torch.

Writes to test/fixtures/text:
  bpe/, wordpiece/, unigram/   tokenizer.json of the three common kinds, trained on the text below
  bpe/model.onnx               a GPT-2 of random weights (transformers) with attention_mask, position_ids and a cache
  characters/vocab.json        a vocabulary of characters, with model.onnx: a Llama of random weights over it, without a cache
  text.txt, lines.jsonl        the text, and lines of different lengths
  golden.json                  token numbers, and the cross-entropy of each token

Made with torch 2.15.0, transformers 5.23.0, tokenizers 0.23.3, onnx 1.23.2; seed 0.
"""

import json
import pathlib

import onnx
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

HOME = pathlib.Path(__file__).resolve().parents[2] / "test" / "fixtures" / "text"
SEQUENCE = 16
TEXT = """The quick brown fox jumps over the lazy dog. The dog does not mind; it sleeps on.

A fox is quick, a dog is lazy:  who would have it otherwise?
\tNobody asks the hen, who counts 12 eggs, 3 of them brown.
"""
LINES = ["The lazy dog sleeps.", "Who counts the eggs of the quick brown hen, and who would mind?", "A fox!"]
STRANGE = [
    "",
    "  two  spaces\n\n\nand\ttabs ",
    "Ünïcödé — “quotes” 日本語 👍🏽 don't",
    "<|endoftext|>a[MASK]b </s> x",
    "1234567 3.14 it's we'll",
    "a\r\nb\u00a0c\u200dd",
]


def train(kind):
    if kind == "bpe":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=290,
            special_tokens=["<|endoftext|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    elif kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        trainer = trainers.WordPieceTrainer(vocab_size=90, special_tokens=special, show_progress=False)
    else:
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.normalizer = normalizers.NFKC()
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=80, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
        )
    tokenizer.train_from_iterator(TEXT.splitlines(), trainer)
    if kind == "wordpiece":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    if kind == "unigram":
        tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return tokenizer


def causal(input_ids, total):
    """What each token sees, as numbers added to its scores; the tracer does not follow the library's own mask."""
    length = input_ids.shape[1]
    position = torch.arange(length)[:, None] + (total - length)
    return torch.where(torch.arange(total)[None, :] <= position, 0.0, -1e9)[None, None]


class Plain(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids):
        return self.model(
            input_ids=input_ids, attention_mask=causal(input_ids, input_ids.shape[1]), use_cache=False
        ).logits


class WithPast(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, position_ids, key, value):
        cache = DynamicCache()
        cache.update(key, value, 0)
        padding = torch.where(attention_mask[:, None, None, :] > 0, 0.0, -1e9)
        out = self.model(
            input_ids=input_ids,
            attention_mask=causal(input_ids, attention_mask.shape[1]) + padding,
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=True,
        )
        layer = out.past_key_values.layers[0]
        return out.logits, layer.keys, layer.values


def shorten(graph):
    """Short names for what lies between inputs and outputs: the exporter's take more room than the weights."""
    kept = {v.name for v in [*graph.input, *graph.output]}
    names = {}
    for name in [weight.name for weight in graph.initializer] + [name for node in graph.node for name in node.output]:
        names[name] = name if name in kept else f"v{len(names)}"
    for weight in graph.initializer:
        weight.name = names[weight.name]
    for node in graph.node:
        node.ClearField("name")
        node.ClearField("doc_string")
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names[name] for name in node.output]


def export(module, args, path, inputs, outputs, axes):
    torch.onnx.export(
        module, args, path, input_names=inputs, output_names=outputs, dynamic_axes=axes, opset_version=17, dynamo=False
    )
    model = onnx.load(path)
    shorten(model.graph)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def losses(model, rows):
    """Cross-entropy of each next token, row by row; rows are of any length and need no padding."""
    out = []
    with torch.no_grad():
        for row in rows:
            ids = torch.tensor([row])
            logits = model(input_ids=ids, use_cache=False).logits[0, :-1]
            out.append(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none").tolist())
    return out


def windows(ids):
    return [ids[i : i + SEQUENCE] for i in range(0, len(ids) - SEQUENCE + 1, SEQUENCE)]


def main():
    torch.manual_seed(0)
    HOME.mkdir(parents=True, exist_ok=True)
    (HOME / "text.txt").write_text(TEXT)
    lines = "".join(json.dumps({"text": line, "label": i % 2}) + "\n" for i, line in enumerate(LINES))
    (HOME / "lines.jsonl").write_text(lines)
    golden = {"sequence": SEQUENCE, "texts": [TEXT, *LINES, *STRANGE], "ids": {}, "plain": {}}
    tokenizers = {}
    for kind in ["bpe", "wordpiece", "unigram"]:
        (HOME / kind).mkdir(exist_ok=True)
        tokenizer = tokenizers[kind] = train(kind)
        tokenizer.save(str(HOME / kind / "tokenizer.json"), pretty=False)
        golden["ids"][kind] = [tokenizer.encode(t).ids for t in golden["texts"]]
        golden["plain"][kind] = [tokenizer.encode(t, add_special_tokens=False).ids for t in golden["texts"]]

    bpe = tokenizers["bpe"]
    config = GPT2Config(
        vocab_size=bpe.get_vocab_size(), n_positions=64, n_embd=8, n_layer=1, n_head=2, initializer_range=0.5
    )
    config._attn_implementation = "eager"
    gpt2 = GPT2LMHeadModel(config).eval()
    ids = torch.randint(0, 200, (2, 5))
    tokens = {0: "batch", 1: "sequence"}
    past = torch.randn(2, 2, 3, 4)
    export(
        WithPast(gpt2).eval(),
        (ids, torch.ones(2, 8, dtype=torch.int64), torch.arange(3, 8).expand(2, 5), past, past.clone()),
        str(HOME / "bpe" / "model.onnx"),
        ["input_ids", "attention_mask", "position_ids", "past_key_values.0.key", "past_key_values.0.value"],
        ["logits", "present.0.key", "present.0.value"],
        {
            "input_ids": tokens,
            "attention_mask": {0: "batch", 1: "total_sequence"},
            "position_ids": tokens,
            "past_key_values.0.key": {0: "batch", 2: "past_sequence"},
            "past_key_values.0.value": {0: "batch", 2: "past_sequence"},
            "logits": tokens,
            "present.0.key": {0: "batch", 2: "total_sequence"},
            "present.0.value": {0: "batch", 2: "total_sequence"},
        },
    )
    golden["gpt2"] = {
        "text": losses(gpt2, windows(bpe.encode(TEXT).ids)),
        "lines": losses(gpt2, [bpe.encode(line).ids for line in LINES]),
    }

    characters = sorted(set(TEXT + "".join(LINES)))
    (HOME / "characters").mkdir(exist_ok=True)
    (HOME / "characters" / "vocab.json").write_text(json.dumps(characters))
    config = LlamaConfig(
        vocab_size=len(characters), hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=64, initializer_range=0.5, tie_word_embeddings=True,
    )
    config._attn_implementation = "eager"
    llama = LlamaForCausalLM(config).eval()
    export(
        Plain(llama).eval(), (ids % len(characters),), str(HOME / "characters" / "model.onnx"), ["input_ids"], ["logits"],
        {"input_ids": tokens, "logits": tokens},
    )
    golden["llama"] = {"text": losses(llama, windows([characters.index(c) for c in TEXT]))}
    (HOME / "golden.json").write_text(json.dumps(golden))


if __name__ == "__main__":
    main()

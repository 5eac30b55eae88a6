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
    return Pick(hf.GPT2LMHeadModel(config), logits, ("input_ids", "attention_mask"), use_cache=False)


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
    return Pick(hf.LlamaForCausalLM(config), logits, ("input_ids", "attention_mask"), use_cache=False)


def roberta() -> torch.nn.Module:
    config = hf.RobertaConfig(
        vocab_size=WORDS,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=40,
        max_position_embeddings=32,
        type_vocab_size=1,
    )
    return Pick(hf.RobertaForTokenClassification(config), logits, ("input_ids", "attention_mask"))


def t5(gated: bool) -> hf.T5ForConditionalGeneration:
    config = hf.T5Config(
        vocab_size=WORDS,
        d_model=24,
        d_kv=6,
        d_ff=40,
        num_layers=2,
        num_heads=3,
        feed_forward_proj="gated-gelu" if gated else "relu",
        use_cache=False,
        # torch.export cannot decompose the fused attention with a bias.
        attn_implementation="eager",
    )
    return hf.T5ForConditionalGeneration(config)


def t5_encoder() -> torch.nn.Module:
    return Pick(t5(True).get_encoder(), lambda o: o.last_hidden_state, ("input_ids", "attention_mask"))


def t5_decoder() -> torch.nn.Module:
    class Decoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = t5(False)

        def forward(self, ids, states):
            return self.model(decoder_input_ids=ids, encoder_outputs=(states,), use_cache=False).logits

    return Decoder()


def whisper() -> hf.WhisperForConditionalGeneration:
    config = hf.WhisperConfig(
        vocab_size=WORDS,
        num_mel_bins=8,
        d_model=24,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=3,
        decoder_attention_heads=3,
        encoder_ffn_dim=40,
        decoder_ffn_dim=40,
        max_source_positions=12,
        max_target_positions=16,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    return hf.WhisperForConditionalGeneration(config)


def whisper_encoder() -> torch.nn.Module:
    return Pick(whisper().get_encoder(), lambda o: o.last_hidden_state, ("input_features",))


def whisper_decoder() -> torch.nn.Module:
    class Decoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = whisper()

        def forward(self, ids, mask, states):
            return self.model(
                decoder_input_ids=ids, decoder_attention_mask=mask, encoder_outputs=(states,), use_cache=False
            ).logits

    return Decoder()


MASKED = (ids("input_ids"), ids("attention_mask", 1, 1))
BERT_INPUTS = (*MASKED, ids("token_type_ids", 1))
DECODER = (ids("ids", axes={0: "batch"}), Input("states", (2, 12, 24)))
MASKED_DECODER = (ids("ids", axes={0: "batch"}), ids("mask", 1, 1, axes={0: "batch"}), Input("states", (2, 12, 24)))
MEL = (Input("x", (2, 8, 24), dynamic={0: "batch"}),)

SPECS = [
    Spec("bert", "transformers", bert, BERT_INPUTS, (dynamo(18), dynamo(24), torchscript(14))),
    Spec("roberta", "transformers", roberta, MASKED, (dynamo(21), torchscript(16))),
    Spec("gpt2", "transformers", gpt2, MASKED, (dynamo(18), torchscript(14))),
    Spec("llama_gqa", "transformers", llama, MASKED, (dynamo(18), dynamo(23, unfused=True), torchscript(17))),
    Spec("t5_encoder", "transformers", t5_encoder, MASKED, (dynamo(18), torchscript(14))),
    Spec("t5_decoder", "transformers", t5_decoder, DECODER, (dynamo(18), torchscript(14))),
    Spec("whisper_encoder", "transformers", whisper_encoder, MEL, (dynamo(18), torchscript(17))),
    Spec("whisper_decoder", "transformers", whisper_decoder, MASKED_DECODER, (dynamo(18), torchscript(17))),
]

"""Exports of mixtures of experts, for test/unit/units/moe-exports.test.ts.

Small models of transformers and hand-written modules, two layers of experts each, exported by torch's two exporters.
Their weights are taken out (scripts/zoo/strip.py). manifest.json says what the configuration of each has: layers,
experts, experts per token, router and shared experts; and which exports failed, with the reason.

    python scripts/golden/moe.py test/fixtures/moe

needs torch, transformers, onnx and onnxscript; their versions and the seed stand in the manifest.
"""

import contextlib
import gzip
import io
import json
import logging
import re
import sys
import warnings
from pathlib import Path

import onnx
import torch
import transformers
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent.parent / "zoo"))
from strip import strip  # noqa: E402

SEED = 5
D = 16
HIDDEN = 24


class Expert(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(D, HIDDEN), nn.Linear(HIDDEN, D)

    def forward(self, x):
        return self.down(F.gelu(self.up(x)))


class Routed(nn.Module):
    """A router and what the forms below share. `route` gives gates and numbers of the chosen experts."""

    def __init__(self, experts, k, kind="softmax-topk", normalised=True):
        super().__init__()
        self.experts_count, self.k, self.kind, self.normalised = experts, k, kind, normalised
        self.router = nn.Linear(D, experts, bias=False)
        if kind == "sigmoid":
            self.register_buffer("balance", 0.1 * torch.randn(experts))

    def route(self, x):
        logits = self.router(x)
        if self.kind == "topk-softmax":
            values, index = logits.topk(self.k, -1)
            return values.softmax(-1), index
        if self.kind == "sigmoid":
            scores = logits.sigmoid()
            index = (scores + self.balance).topk(self.k, -1)[1]
            gates = scores.gather(-1, index)
        else:
            gates, index = logits.softmax(-1).topk(self.k, -1)
        return (gates / (gates.sum(-1, keepdim=True) + 1e-9) if self.normalised else gates), index

    def full(self, x):
        gates, index = self.route(x)
        return torch.zeros_like(x[..., :1].expand(*x.shape[:-1], self.experts_count)).scatter(-1, index, gates)


class Listed(Routed):
    def __init__(self, *args, **rest):
        super().__init__(*args, **rest)
        self.experts = nn.ModuleList(Expert() for _ in range(self.experts_count))


class Dense(Listed):
    """Every expert on all tokens, times its gate."""

    def forward(self, x):
        gates = self.full(x)
        return sum(gates[..., e : e + 1] * expert(x) for e, expert in enumerate(self.experts))


class OneHot(Listed):
    """Gates by comparing the chosen numbers with each expert's."""

    def forward(self, x):
        gates, index = self.route(x)
        y = torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            y = y + (gates * (index == e)).sum(-1, keepdim=True) * expert(x)
        return y


class SideBySide(Listed):
    """All results in one tensor, weighed by a product."""

    def forward(self, x):
        y = torch.stack([expert(x) for expert in self.experts], -2)
        return torch.einsum("bte,bted->btd", self.full(x), y)


class Gathered(Listed):
    """Every expert on the tokens that chose it, results added in place."""

    def forward(self, x):
        flat = x.reshape(-1, D)
        gates, index = self.route(flat)
        y = torch.zeros_like(flat)
        for e, expert in enumerate(self.experts):
            token, slot = torch.where(index == e)
            y = y.index_add(0, token, expert(flat[token]) * gates[token, slot].unsqueeze(-1))
        return y.reshape(x.shape)


class Put(Listed):
    """Top-1; results written to their places."""

    def forward(self, x):
        flat = x.reshape(-1, D)
        gates, index = self.route(flat)
        y = torch.zeros_like(flat)
        for e, expert in enumerate(self.experts):
            token = (index[:, 0] == e).nonzero()[:, 0]
            y = torch.index_put(y, (token,), expert(flat[token]) * gates[token])
        return y.reshape(x.shape)


class Stacked(Routed):
    def __init__(self, *args, **rest):
        super().__init__(*args, **rest)
        self.up = nn.Parameter(torch.randn(self.experts_count, D, HIDDEN) / 4)
        self.down = nn.Parameter(torch.randn(self.experts_count, HIDDEN, D) / 4)
        self.bias = nn.Parameter(torch.randn(self.experts_count, 1, HIDDEN) / 4)


class Batched(Stacked):
    """Batched products over all experts."""

    def forward(self, x):
        flat = x.reshape(1, -1, D)
        y = torch.matmul(F.silu(torch.matmul(flat, self.up) + self.bias), self.down)
        gates = self.full(flat[0]).transpose(0, 1).unsqueeze(-1)
        return (gates * y).sum(0).reshape(x.shape)


class Summed(Stacked):
    """The same by einsum."""

    def forward(self, x):
        h = F.silu(torch.einsum("btd,edf->btef", x, self.up) + self.bias[:, 0])
        y = torch.einsum("btef,efd->bted", h, self.down)
        return torch.einsum("bte,bted->btd", self.full(x), y)


class LookedUp(Stacked):
    """Every token with the weights of its own experts."""

    def forward(self, x):
        gates, index = self.route(x)
        h = F.silu(torch.matmul(x[:, :, None, None, :], self.up[index]) + self.bias[index])
        y = torch.matmul(h, self.down[index]).squeeze(-2)
        return (gates.unsqueeze(-1) * y).sum(-2)


class Dispatched(Stacked):
    """Tokens times a mask of the experts, through batched products and back."""

    def forward(self, x):
        flat = x.reshape(-1, D)
        gates = self.full(flat)
        mine = torch.einsum("te,td->etd", (gates > 0).to(x.dtype), flat)
        y = torch.bmm(F.silu(torch.bmm(mine, self.up) + self.bias), self.down)
        return torch.einsum("te,etd->td", gates, y).reshape(x.shape)


class Shared(nn.Module):
    """A routed layer beside an expert for all tokens."""

    def __init__(self, routed, first):
        super().__init__()
        self.routed, self.expert, self.first = routed, Expert(), first

    def forward(self, x):
        return self.expert(x) + self.routed(x) if self.first else self.routed(x) + self.expert(x)


class Turns(Stacked):
    """A loop over experts, exported as Loop."""

    def forward(self, x):
        gates, index = self.route(x)
        return turns(x, gates, index, self.up, self.bias, self.down)


@torch.jit.script
def turns(x, gates, index, up, bias, down):
    y = torch.zeros_like(x)
    for e in range(up.size(0)):
        gate = (gates * (index == e).to(x.dtype)).sum(-1, keepdim=True)
        y = y + gate * torch.matmul(F.silu(torch.matmul(x, up[e]) + bias[e]), down[e])
    return y


class Asked(Listed):
    """Experts that run only where a token chose them, exported as If."""

    def forward(self, x):
        gates, index = self.route(x)
        y = torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            mask = index == e
            gate = (gates * mask).sum(-1, keepdim=True)
            y = asked(mask.any(), y, x, gate, expert.up.weight, expert.up.bias, expert.down.weight, expert.down.bias)
        return y


@torch.jit.script
def asked(any_: torch.Tensor, y, x, gate, up, up_bias, down, down_bias):
    if bool(any_):
        y = y + gate * (torch.matmul(F.relu(torch.matmul(x, up.t()) + up_bias), down.t()) + down_bias)
    return y


class Tower(nn.Module):
    """Two layers of experts with norms and residuals."""

    def __init__(self, make):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(D) for _ in range(2))
        self.layers = nn.ModuleList(make() for _ in range(2))

    def forward(self, x):
        for norm, layer in zip(self.norms, self.layers):
            x = x + layer(norm(x))
        return x


class Logits(nn.Module):
    """A language model from tokens to logits, without a cache."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, tokens):
        # Without a mask the model would look for packed texts, by an operator that TorchScript's exporter lacks.
        decoder = {} if "Encoder" in type(self.model).__name__ else {"use_cache": False}
        return self.model(input_ids=tokens, attention_mask=torch.ones_like(tokens), **decoder)[0]


def language():
    common = dict(
        hidden_size=D,
        intermediate_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        vocab_size=32,
        max_position_embeddings=64,
    )
    t = transformers
    deepseek = dict(q_lora_rank=8, kv_lora_rank=8, qk_rope_head_dim=4, qk_nope_head_dim=4, v_head_dim=8)
    return {
        "mixtral": (
            t.MixtralForCausalLM,
            t.MixtralConfig(num_local_experts=4, num_experts_per_tok=2, **common),
            dict(experts=4, k=2, kind="softmax-topk", normalised=True, shared=0),
        ),
        "qwen2": (
            t.Qwen2MoeForCausalLM,
            t.Qwen2MoeConfig(
                num_experts=8,
                num_experts_per_tok=4,
                moe_intermediate_size=12,
                shared_expert_intermediate_size=20,
                decoder_sparse_step=1,
                **common,
            ),
            dict(experts=8, k=4, kind="softmax-topk", normalised=False, shared=1),
        ),
        "deepseek": (
            t.DeepseekV3ForCausalLM,
            t.DeepseekV3Config(
                n_routed_experts=8,
                num_experts_per_tok=3,
                n_group=2,
                topk_group=1,
                moe_intermediate_size=12,
                n_shared_experts=1,
                first_k_dense_replace=0,
                **deepseek,
                **common,
            ),
            dict(experts=8, k=3, kind="sigmoid", normalised=True, shared=1, bias=True),
        ),
        "switch": (
            t.SwitchTransformersEncoderModel,
            t.SwitchTransformersConfig(
                num_experts=4,
                d_model=D,
                d_ff=HIDDEN,
                d_kv=8,
                num_heads=2,
                num_layers=2,
                num_sparse_encoder_layers=2,
                vocab_size=32,
                router_jitter_noise=0.0,
            ),
            dict(experts=4, k=1, kind="softmax-topk", normalised=False, shared=0),
        ),
    }


def hand_written():
    def facts(experts, k, kind="softmax-topk", normalised=True, shared=0, **rest):
        return dict(experts=experts, k=k, kind=kind, normalised=normalised, shared=shared, **rest)

    soft = "topk-softmax"
    return {
        "dense": (lambda: Dense(4, 2), facts(4, 2, form="dense")),
        "onehot": (lambda: OneHot(5, 2, soft), facts(5, 2, soft, form="dense")),
        "sidebyside": (lambda: SideBySide(4, 1, normalised=False), facts(4, 1, normalised=False, form="dense")),
        "gathered": (lambda: Gathered(4, 2, soft), facts(4, 2, soft, form="gathered")),
        "put": (lambda: Put(6, 1, normalised=False), facts(6, 1, normalised=False, form="gathered")),
        "batched": (lambda: Batched(4, 2, "sigmoid"), facts(4, 2, "sigmoid", form="stacked", bias=True)),
        "summed": (lambda: Summed(10, 8), facts(10, 8, form="stacked")),
        "lookedup": (lambda: LookedUp(4, 2, soft), facts(4, 2, soft, form="lookup")),
        "dispatched": (lambda: Dispatched(4, 2), facts(4, 2, form="stacked")),
        "sharedfirst": (lambda: Shared(OneHot(4, 2), True), facts(4, 2, form="dense", shared=1)),
        "sharedlast": (lambda: Shared(Gathered(4, 2), False), facts(4, 2, form="gathered", shared=1)),
        # torch.export takes the turns of the loop one by one.
        "turns": (lambda: Turns(4, 2), facts(4, 2, form={"torchscript": "loop", "dynamo": "dense"})),
        "asked": (lambda: Asked(4, 2), facts(4, 2, form="branches")),
    }


def export(model, sample, exporter):
    logging.disable(logging.WARNING)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        if exporter == "dynamo":
            shapes = ({0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC},)
            return torch.onnx.export(
                model, (sample,), input_names=["x"], opset_version=20, dynamo=True, dynamic_shapes=shapes, verbose=False
            ).model_proto
        buffer = io.BytesIO()
        torch.onnx.export(
            model,
            (sample,),
            buffer,
            input_names=["x"],
            opset_version=17,
            dynamo=False,
            dynamic_axes={"x": {0: "batch", 1: "time"}},
        )
        return onnx.load_from_string(buffer.getvalue())


def reached(model, sample):
    """How many experts of each layer the sample reaches: the exporter sees no others where it follows the tokens."""
    counts = []

    def count(_module, inputs):
        counts.append(len(torch.unique(inputs[1])))

    hooks = [
        m.register_forward_pre_hook(count)
        for m in model.modules()
        if type(m).__name__.endswith("Experts") and not isinstance(m, nn.ModuleDict)
    ]
    with torch.no_grad():
        model(sample)
    for hook in hooks:
        hook.remove()
    return counts


def candidates():
    for name, (make, facts) in hand_written().items():
        for exporter in ("torchscript", "dynamo"):
            torch.manual_seed(SEED)
            yield f"{name}.{exporter}", Tower(make).eval(), torch.randn(2, 12, D), exporter, facts
    for name, (cls, config, facts) in language().items():
        # Switch has no other way to compute its experts.
        for way in ("eager", "batched_mm") if name != "switch" else ("eager",):
            for exporter in ("torchscript", "dynamo"):
                torch.manual_seed(SEED)
                config._experts_implementation = way
                config._attn_implementation = "eager"
                model = Logits(cls(config)).eval()
                for p in model.parameters():
                    nn.init.normal_(p, std=0.3)
                sample = torch.randint(0, 32, (4, 16))
                counts = {"reached": reached(model, sample)} if way == "eager" and name != "switch" else {}
                yield f"{name}.{way}.{exporter}", model, sample, exporter, {**facts, **counts}


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    models, failed, written = [], [], set()
    for name, model, sample, exporter, facts in candidates():
        try:
            with torch.no_grad():
                proto = export(model, sample, exporter)
            onnx.checker.check_model(proto)
        except Exception as error:  # noqa: BLE001: whatever an exporter raises is what we want to know
            text = re.sub(r"\x1b\[\d+m", "", str(error)).strip().split("\n")[0].split(". ")[0]
            failed.append({"name": name, "reason": f"{type(error).__name__}: {text}"})
            continue
        strip(proto)
        bytes_ = proto.SerializeToString(deterministic=True)
        if bytes_ in written:
            continue
        written.add(bytes_)
        (folder / f"{name}.onnx.gz").write_bytes(gzip.compress(bytes_, 9, mtime=0))
        form = facts.get("form")
        own = {"form": form[exporter]} if isinstance(form, dict) else {}
        models.append({"name": name, "layers": 2, "nodes": len(proto.graph.node), **facts, **own})
    versions = {m.__name__: m.__version__ for m in (torch, transformers, onnx)}
    manifest = {"seed": SEED, "versions": versions, "models": models, "failed": failed}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


main(Path(sys.argv[1]))

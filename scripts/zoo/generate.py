"""Exports the models of the zoo with random weights: python scripts/zoo/generate.py [--only NAME …].

Writes one compressed file per export and manifest.json into test/fixtures/zoo. See README.md.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.metadata
import json
import pathlib
import sys
import time

import numpy as np
import onnx
import onnxruntime
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from export import export  # noqa: E402
from families import all_specs  # noqa: E402
from spec import Spec, Variant  # noqa: E402
from strip import fill, strip  # noqa: E402
from weights import randomise, seed_of  # noqa: E402

FOLDER = pathlib.Path(__file__).parents[2] / "test" / "fixtures" / "zoo"
LIBRARIES = ("torch", "torchvision", "timm", "transformers", "onnx", "onnxscript", "onnxruntime")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="names of models, or of single exports (name.exporter)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / "manifest.json"
    manifest = json.loads(path.read_text()) if path.exists() and args.only else {"models": [], "failed": []}
    models = {e["name"]: e for e in manifest["models"]}
    failed = {e["name"]: e for e in manifest["failed"]}
    order = []
    for spec in all_specs():
        for variant in spec.variants:
            name = f"{spec.name}.{variant.suffix}"
            order.append(name)
            if args.only and spec.name not in args.only and name not in args.only:
                continue
            models.pop(name, None)
            failed.pop(name, None)
            start = time.time()
            try:
                models[name] = make(name, spec, variant)
                note = f"{models[name]['nodes']} nodes, {models[name]['parameters']} parameters"
            except Exception as error:  # noqa: BLE001 (whatever an exporter raises goes into the manifest)
                note = reason(error)
                failed[name] = {"name": name, "model": spec.name, "source": spec.source, "reason": note}
            print(f"{time.time() - start:5.1f} s  {name}: {note}", flush=True)
    rank = {name: i for i, name in enumerate(order)}
    manifest = {
        "libraries": versions(),
        "models": sorted((e for n, e in models.items() if n in rank), key=lambda e: rank[e["name"]]),
        "failed": sorted((e for n, e in failed.items() if n in rank), key=lambda e: rank[e["name"]]),
    }
    path.write_text(json.dumps(manifest, indent=1) + "\n")
    keep = {e["name"] for e in manifest["models"]}
    for file in FOLDER.glob("*.onnx.gz"):
        if file.name.removesuffix(".onnx.gz") not in keep:
            file.unlink()
    return 0


def make(name: str, spec: Spec, variant: Variant) -> dict:
    """Exports, strips and tries one model; its entry in the manifest."""
    torch.manual_seed(seed_of(spec.name))
    generator = torch.Generator().manual_seed(seed_of(spec.name))
    sample = tuple(i.sample(generator) for i in spec.inputs)
    model = spec.make().eval()
    randomise(model, sample, seed_of(spec.name))
    proto = export(model, spec.inputs, sample, variant)
    opset = next(o.version for o in proto.opset_import if o.domain in ("", "ai.onnx"))
    if opset != variant.opset:
        raise RuntimeError(f"the exporter wrote opset {opset}")
    onnxruntime.set_default_logger_severity(4)
    compare(proto, spec, model, sample)
    parameters = sum(int(np.prod(t.dims)) for t in proto.graph.initializer if t.data_type == onnx.TensorProto.FLOAT)
    strip(proto)
    run_filled(proto, spec, sample)
    data = gzip.compress(proto.SerializeToString(deterministic=True), compresslevel=9, mtime=0)
    (FOLDER / f"{name}.onnx.gz").write_bytes(data)
    return {
        "name": name,
        "model": spec.name,
        "source": spec.source,
        "exporter": variant.exporter,
        "opset": opset,
        "nodes": len(proto.graph.node),
        "parameters": parameters,
        "bytes": len(data),
        "inputs": [
            {
                "name": i.name,
                "dtype": str(i.dtype).removeprefix("torch."),
                "shape": list(i.shape),
                **({} if i.dtype.is_floating_point else {"low": i.low, "high": i.high}),
            }
            for i in spec.inputs
        ],
    }


def compare(proto: onnx.ModelProto, spec: Spec, model: torch.nn.Module, sample: tuple[torch.Tensor, ...]) -> None:
    """The export computes what torch does."""
    with torch.no_grad():
        expected = model(*sample)
    expected = [expected] if isinstance(expected, torch.Tensor) else list(expected)
    for got, want in zip(run(proto, spec, sample), expected, strict=True):
        want = want.numpy()
        if got.shape != want.shape or np.abs(got - want).max() > 1e-3 * max(1.0, np.abs(want).max()):
            raise RuntimeError(f"the export differs from torch: {np.abs(got - want).max() if got.shape == want.shape else got.shape}")


def run(proto: onnx.ModelProto, spec: Spec, sample: tuple[torch.Tensor, ...]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    names = {i.name for i in session.get_inputs()}
    return session.run(None, {i.name: s.numpy() for i, s in zip(spec.inputs, sample) if i.name in names})


def run_filled(proto: onnx.ModelProto, spec: Spec, sample: tuple[torch.Tensor, ...]) -> None:
    """Tries the model with the weights that tests fill in: finite and not constant."""
    filled = fill(proto)
    outputs = run(filled, spec, sample)
    for output in outputs:
        if not np.isfinite(output).all() or np.abs(output).max() > 1e4 or output.std() < 1e-6:
            raise RuntimeError(f"filled with random weights it gives {np.abs(output).max()}, deviation {output.std()}")


def versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name).split("+")[0] for name in LIBRARIES}


def reason(error: Exception) -> str:
    """First sentence of an error, without paths or addresses."""
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[0] if lines else ''}"[:200]


if __name__ == "__main__":
    sys.exit(main())

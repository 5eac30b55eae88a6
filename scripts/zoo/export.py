"""Runs the two ONNX exporters of torch."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import warnings

import onnx
import torch
from torch import nn

from spec import Input, Variant


def export(model: nn.Module, inputs: tuple[Input, ...], sample: tuple[torch.Tensor, ...], variant: Variant):
    """The model as ONNX. Raises what the exporter raises."""
    names = [i.name for i in inputs]
    with torch.no_grad():
        result = model(*sample)
    outputs = ["y"] if isinstance(result, torch.Tensor) else [f"y{i}" for i in range(len(result))]
    logging.disable(logging.WARNING)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        if variant.exporter == "dynamo":
            exported = _dynamo(model, inputs, sample, variant, names, outputs)
        else:
            exported = _torchscript(model, inputs, sample, variant, names, outputs)
    onnx.checker.check_model(exported)
    return exported


def _dynamo(model, inputs, sample, variant, names, outputs) -> onnx.ModelProto:
    dims: dict[str, object] = {}
    for name in {n for i in inputs for n in i.dynamic.values()}:
        dims[name] = torch.export.Dim.DYNAMIC
    shapes = tuple({axis: dims[name] for axis, name in i.dynamic.items()} or None for i in inputs)
    program = torch.onnx.export(
        model,
        sample,
        input_names=names,
        output_names=outputs,
        opset_version=variant.opset,
        dynamo=True,
        dynamic_shapes=_nested(model, shapes) if any(shapes) else None,
        optimize=not variant.unfused,
        verbose=False,
    )
    return program.model_proto


def _nested(model: nn.Module, shapes: tuple) -> tuple:
    """torch.export wants one tree per parameter of forward: *inputs is a single one."""
    kinds = [p.kind for p in inspect.signature(model.forward).parameters.values()]
    return (shapes,) if inspect.Parameter.VAR_POSITIONAL in kinds else shapes


def _torchscript(model, inputs, sample, variant, names, outputs) -> onnx.ModelProto:
    buffer = io.BytesIO()
    axes = {i.name: i.dynamic for i in inputs if i.dynamic}
    mode = torch.onnx.TrainingMode.PRESERVE if variant.unfused else torch.onnx.TrainingMode.EVAL
    torch.onnx.export(
        model,
        sample,
        buffer,
        input_names=names,
        output_names=outputs,
        opset_version=variant.opset,
        dynamo=False,
        dynamic_axes=axes,
        training=mode,
    )
    return onnx.load_from_string(buffer.getvalue())

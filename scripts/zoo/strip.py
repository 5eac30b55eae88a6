"""Takes the weights out of an exported model: what stays says how to fill them again (test/support/zoo.ts)."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

# Float tensors up to so many elements are kept as they are.
KEEP = 64
# So are larger ones with as few different values: masks, zeros, ones.
FEW_VALUES = 4
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)


def strip(model: onnx.ModelProto) -> None:
    """Replaces bulky float tensors by markers and removes what only debuggers read."""
    del model.metadata_props[:]
    model.doc_string = ""
    for function in model.functions:
        _clean_nodes(function)
    _strip_graph(model.graph, count := [0])
    # The exporter's own number of conversions, paths and times of day do not belong in a fixture.
    model.graph.doc_string = ""


def _clean_nodes(owner) -> None:
    owner.doc_string = ""
    del owner.metadata_props[:]
    for node in owner.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for info in owner.value_info:
        info.doc_string = ""
        del info.metadata_props[:]


def _strip_graph(graph: onnx.GraphProto, count: list[int]) -> None:
    _clean_nodes(graph)
    # A large float Constant becomes an initializer first.
    kept = []
    for node in graph.node:
        value = next((a.t for a in node.attribute if a.name == "value" and a.type == onnx.AttributeProto.TENSOR), None)
        if node.op_type == "Constant" and value is not None and _bulky(value):
            value.name = node.output[0]
            graph.initializer.append(value)
            continue
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else attribute.graphs:
                _strip_graph(inner, count)
        kept.append(node)
    if len(kept) != len(graph.node):
        nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in kept]
        del graph.node[:]
        graph.node.extend(nodes)
    for tensor in graph.initializer:
        tensor.doc_string = ""
        if _bulky(tensor):
            _mark(tensor, count)


def _bulky(tensor: onnx.TensorProto) -> bool:
    if tensor.data_type not in _FLOATS or math.prod(tensor.dims) <= KEEP:
        return False
    values = _values(tensor)
    return bool(np.isfinite(values).all()) and len(np.unique(values)) > FEW_VALUES


def _values(tensor: onnx.TensorProto) -> np.ndarray:
    return numpy_helper.to_array(tensor).astype(np.float64).ravel()


def _mark(tensor: onnx.TensorProto, count: list[int]) -> None:
    values = _values(tensor)
    count[0] += 1
    entries = {
        "location": "random",
        "seed": str(count[0]),
        "mean": f"{values.mean():.6g}",
        "std": f"{values.std():.6g}",
        "min": f"{values.min():.6g}",
        "max": f"{values.max():.6g}",
    }
    for field in ("raw_data", "float_data", "int32_data", "double_data"):
        tensor.ClearField(field)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def fill(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a stripped model with weights, the same as test/support/zoo.ts makes."""
    filled = onnx.ModelProto()
    filled.CopyFrom(model)
    for graph in _graphs(filled.graph):
        for tensor in graph.initializer:
            if tensor.data_location != TensorProto.EXTERNAL:
                continue
            entry = {e.key: e.value for e in tensor.external_data}
            del tensor.external_data[:]
            tensor.data_location = TensorProto.DEFAULT
            u = uniform(int(entry["seed"]), math.prod(tensor.dims))
            mean, std, low, high = (float(entry[k]) for k in ("mean", "std", "min", "max"))
            values = np.clip(mean + (2 * u - 1) * math.sqrt(3) * std, low, high)
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
            tensor.raw_data = values.astype(dtype).tobytes()
    return filled


def _graphs(graph: onnx.GraphProto):
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else attribute.graphs:
                yield from _graphs(inner)


def uniform(seed: int, count: int) -> np.ndarray:
    """The first numbers of mulberry32 in [0, 1)."""
    with np.errstate(over="ignore"):
        a = np.uint32(seed) + np.uint32(0x6D2B79F5) * np.arange(1, count + 1, dtype=np.uint32)
        t = (a ^ (a >> np.uint32(15))) * (a | np.uint32(1))
        t = (t + (t ^ (t >> np.uint32(7))) * (t | np.uint32(61))) ^ t
        return (t ^ (t >> np.uint32(14))).astype(np.float64) / 4294967296.0

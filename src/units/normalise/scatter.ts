import type { Model, Node, Value } from '../../graph/ir.ts';
import { constantTensor } from '../../graph/edit.ts';
import type { ShapeInfo } from '../../graph/shapes/index.ts';
import { bitsPerElement, byteLength, DataType } from '../../onnx/data-type.ts';
import { Tensor } from '../../onnx/tensor.ts';
import { setConstant } from './constants.ts';
import { elementsOf, numberingOf } from './numbering.ts';

/** Larger tensors are left to be computed. */
const MAX_ELEMENTS = 1 << 20;
/** Longer chains of nodes are not followed. */
const MAX_DEPTH = 16;

/**
 * Constants that are written into a weight at constant places (Swin V2 sets the middle third of its packed bias to 0)
 * become a weight with these numbers in it, which is cut like any other.
 */
export function foldScatters(model: Model, shapes: ShapeInfo): void {
  for (const node of [...model.graph.nodes]) {
    const [data, indices, updates] = node.inputs;
    const out = node.outputs[0];
    const places = PLACES[node.op];
    const weight = data && !data.isGraphInput ? data.initializer : null;
    if (!places || !weight || !out || out.isGraphOutput || weight.elementCount > MAX_ELEMENTS) continue;
    if (node.string('reduction', 'none') !== 'none' || bitsPerElement(weight.dataType) % 8 !== 0) continue;
    const [at, written] = [knownTensor(indices, shapes), knownTensor(updates, shapes)];
    if (!at || written?.dataType !== weight.dataType) continue;
    const tensor = scattered(weight, places(node, weight.dims, at), written);
    if (!tensor) continue;
    model.graph.removeNode(node, false);
    setConstant(out, tensor);
  }
}

/** Where runs of elements are written to in the flat weight, in the order of the updates. */
interface Places {
  starts: number[];
  /** Elements of a run. */
  length: number;
}

function scattered(weight: Tensor, places: Places | undefined, updates: Tensor): Tensor | undefined {
  // Places that are written to twice hold whatever the runtime writes last.
  if (!places || new Set(places.starts).size !== places.starts.length) return undefined;
  if (places.starts.length * places.length !== updates.elementCount) return undefined;
  try {
    const bytes = Uint8Array.from(weight.bytes());
    const from = updates.bytes();
    const run = byteLength(weight.dataType, places.length);
    const each = byteLength(weight.dataType, 1);
    places.starts.forEach((start, i) => bytes.set(from.subarray(i * run, (i + 1) * run), start * each));
    return Tensor.fromBytes(weight.name, weight.dataType, weight.dims, bytes);
  } catch {
    return undefined; // a missing external file: whoever needs the bytes will say so
  }
}

const count = (dims: readonly number[]) => dims.reduce((a, b) => a * b, 1);
const strideOf = (dims: readonly number[], axis: number) => count(dims.slice(axis + 1));

/** A position counted from the front; NaN when there is none. */
function position(i: number, size: number): number {
  const p = i < 0 ? i + size : i;
  return p >= 0 && p < size ? p : NaN;
}

/** Each row of the indices names a position of the first axes. */
function scatterND(_: Node, dims: readonly number[], indices: Tensor): Places | undefined {
  const depth = indices.dims[indices.dims.length - 1] ?? 0;
  if (depth < 1 || depth > dims.length) return undefined;
  const numbers = indices.toInts();
  const starts = Array.from({ length: numbers.length / depth }, (_, row) =>
    dims
      .slice(0, depth)
      .reduce((sum, size, k) => sum + position(numbers[row * depth + k], size) * strideOf(dims, k), 0),
  );
  return starts.some(Number.isNaN) ? undefined : { starts, length: count(dims.slice(depth)) };
}

/** Each index names the position along one axis; the place of the index itself those along the others. */
function scatterElements(node: Node, dims: readonly number[], indices: Tensor): Places | undefined {
  const axis = node.int('axis', 0) < 0 ? node.int('axis', 0) + dims.length : node.int('axis', 0);
  if (indices.dims.length !== dims.length || axis >= dims.length) return undefined;
  const starts = indices.toInts().map((index, flat) =>
    dims.reduce((sum, size, k) => {
      const own = Math.floor(flat / strideOf(indices.dims, k)) % indices.dims[k];
      return sum + position(k === axis ? index : own, size) * strideOf(dims, k);
    }, 0),
  );
  return starts.some(Number.isNaN) ? undefined : { starts, length: 1 };
}

const PLACES: Readonly<Record<string, (node: Node, dims: readonly number[], indices: Tensor) => Places | undefined>> = {
  ScatterND: scatterND,
  ScatterElements: scatterElements,
  Scatter: scatterElements,
};

/** What a value holds whatever is fed: constants, evenly spaced integers, fills, and rearrangements of these. */
function knownTensor(value: Value | null | undefined, shapes: ShapeInfo, depth = 0): Tensor | undefined {
  const dims = value?.staticShape;
  if (!value || value.isGraphInput || !dims || count(dims) > MAX_ELEMENTS || depth > MAX_DEPTH) return undefined;
  const constant = constantTensor(value, false);
  if (constant) return constant;
  if (value.type!.elemType === DataType.INT64) {
    const content = shapes.constant(value);
    const numbering = content ? undefined : numberingOf(value, shapes);
    const ints = content ?? (numbering && elementsOf(numbering));
    if (ints?.every((x) => typeof x === 'number')) return Tensor.fromInt64('', dims, ints);
  }
  const node = value.producer;
  switch (node?.op) {
    case 'Identity':
    case 'Reshape':
    case 'Flatten':
    case 'Squeeze':
    case 'Unsqueeze':
      return knownTensor(node.inputs[0], shapes, depth + 1)?.withDims(dims, '');
    case 'Expand': {
      const one = knownTensor(node.inputs[0], shapes, depth + 1);
      return one?.elementCount === 1 ? filled(one, dims) : undefined;
    }
    case 'ConstantOfShape': {
      const given = node.attributes.get('value');
      if (given && given.kind !== 'tensor') return undefined;
      return filled(given?.value ?? Tensor.fromFloat32('', [1], Float32Array.of(0)), dims);
    }
  }
  return undefined;
}

/** A tensor of one number, over and over. */
function filled(one: Tensor, dims: readonly number[]): Tensor | undefined {
  if (bitsPerElement(one.dataType) % 8 !== 0 || bitsPerElement(one.dataType) === 0) return undefined;
  const each = one.bytes();
  const bytes = new Uint8Array(each.length * count(dims));
  for (let at = 0; at < bytes.length; at += each.length) bytes.set(each, at);
  return Tensor.fromBytes('', one.dataType, dims, bytes);
}

import type { Model, Node, Value } from '../../graph/ir.ts';
import { opsetVersion } from '../../graph/ir.ts';
import { constantTensor } from '../../graph/edit.ts';
import type { ShapeInfo } from '../../graph/shapes/index.ts';
import { Tensor } from '../../onnx/tensor.ts';

/** Versions of Slice from here on take starts and ends as operands. */
const SLICE_OPERANDS = 10;

/** A run of positions of an axis, all from one operand of a Concat. */
interface Piece {
  value: Value;
  /** First position of the operand on the axis of the Concat. */
  start: number;
  size: number;
}

/**
 * Gather, Slice and Split that take what came from one operand of a Concat read that operand: the Concat (torch's h_n, the last
 * states of all layers of an LSTM) would couple the other axes of all operands, though only one is used.
 */
export function piecesOfConcat(model: Model, shapes: ShapeInfo): void {
  for (const node of model.graph.nodes) {
    const concat = node.inputs[0]?.producer;
    const rank = node.inputs[0]?.type?.shape?.length ?? 0;
    // Vectors are mostly shapes.
    if (concat?.op !== 'Concat' || rank < 2 || !/^(Gather|Slice|Split)$/.test(node.op)) continue;
    const axis = normal(concat.int('axis', 1), rank);
    const pieces = piecesAlong(concat, axis);
    if (!pieces) continue;
    if (node.op === 'Gather') gather(node, axis, rank, pieces, shapes);
    else if (node.op === 'Slice') slice(node, axis, rank, pieces, shapes, opsetVersion(model));
    else split(node, axis, rank, pieces);
  }
}

const normal = (i: number, size: number) => (i < 0 ? i + size : i);

function piecesAlong(concat: Node, axis: number): Piece[] | undefined {
  const pieces: Piece[] = [];
  let start = 0;
  for (const value of concat.inputs) {
    const size = value?.type?.shape?.[axis];
    if (!value || typeof size !== 'number') return undefined;
    pieces.push({ value, start, size });
    start += size;
  }
  return pieces;
}

/** The piece that holds the positions from `first` to `last`, both included. */
function pieceWith(pieces: readonly Piece[], first: number, last: number): Piece | undefined {
  return pieces.find((p) => p.start <= first && first <= last && last < p.start + p.size);
}

function total(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, p) => sum + p.size, 0);
}

/** Known numbers of an operand, or of an attribute of older versions. */
function numbersOf(node: Node, input: number, shapes: ShapeInfo, attribute?: string): number[] | undefined {
  if (attribute !== undefined) return node.ints(attribute);
  const value = node.inputs[input];
  if (!value || value.isGraphInput) return undefined;
  const known = shapes.constant(value) ?? constantTensor(value, false)?.toInts();
  return known?.every((x) => typeof x === 'number') ? [...known] : undefined;
}

function gather(node: Node, axis: number, rank: number, pieces: readonly Piece[], shapes: ShapeInfo): void {
  const dims = node.inputs[1]?.type?.shape;
  if (normal(node.int('axis', 0), rank) !== axis || !dims?.every((d) => typeof d === 'number')) return;
  const at = numbersOf(node, 1, shapes)?.map((i) => normal(i, total(pieces)));
  if (!at || at.length === 0 || at.length !== dims.reduce((a, b) => a * b, 1)) return;
  const piece = pieceWith(pieces, Math.min(...at), Math.max(...at));
  if (!piece) return;
  const indices = at.map((i) => i - piece.start);
  node.setInput(0, piece.value);
  node.setInput(1, addInts(node, 'indices', dims, indices));
}

function slice(
  node: Node,
  axis: number,
  rank: number,
  pieces: readonly Piece[],
  shapes: ShapeInfo,
  opset: number,
): void {
  const old = opset < SLICE_OPERANDS;
  const starts = numbersOf(node, 1, shapes, old ? 'starts' : undefined);
  const ends = numbersOf(node, 2, shapes, old ? 'ends' : undefined);
  if (!starts || starts.length !== ends?.length) return;
  const given = old ? node.ints('axes') : node.inputs[3] && numbersOf(node, 3, shapes);
  const steps = !old && node.inputs[4] ? numbersOf(node, 4, shapes) : starts.map(() => 1);
  const named = given ?? (!old && node.inputs[3] ? undefined : starts.map((_, i) => i));
  if (!named || !steps) return;
  const k = named.findIndex((a) => normal(a, rank) === axis);
  const step = steps[k];
  if (k < 0 || !(step > 0)) return;
  const size = total(pieces);
  const clamp = (i: number) => Math.max(0, Math.min(size, normal(i, size)));
  const [start, end] = [clamp(starts[k]), clamp(ends[k])];
  if (start >= end) return;
  const last = start + Math.floor((end - 1 - start) / step) * step;
  const piece = pieceWith(pieces, start, last);
  if (!piece) return;
  starts[k] = start - piece.start;
  ends[k] = last + 1 - piece.start;
  const out = node.outputs[0]!;
  if (starts.length === 1 && step === 1 && ends[k] - starts[k] === piece.size && !out.isGraphOutput) {
    out.replaceUsesWith(piece.value);
    return;
  }
  node.setInput(0, piece.value);
  if (old) {
    node.setInts('starts', starts).setInts('ends', ends);
    return;
  }
  // Starts and ends are of one type with the axes and steps that stay.
  const type = node.inputs[1]!.type!.elemType;
  node.setInput(1, addInts(node, 'starts', [starts.length], starts, type));
  node.setInput(2, addInts(node, 'ends', [ends.length], ends, type));
}

/** Parts that are whole operands are read there. */
function split(node: Node, axis: number, rank: number, pieces: readonly Piece[]): void {
  if (normal(node.int('axis', 0), rank) !== axis) return;
  let start = 0;
  for (const out of node.outputs) {
    const size = out?.type?.shape?.[axis];
    if (typeof size !== 'number') return;
    const piece = pieces.find((p) => p.start === start && p.size === size);
    if (piece && !out!.isGraphOutput) out!.replaceUsesWith(piece.value);
    start += size;
  }
}

function addInts(node: Node, stem: string, dims: readonly number[], values: readonly number[], type = 7): Value {
  const tensor = Tensor.fromNumbers('', type, dims, values);
  return node.graph.addInitializer(`${node.outputs[0]!.name}_${stem}`, tensor);
}

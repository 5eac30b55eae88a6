import type { Node, Value } from '../../graph/ir.ts';
import { operandValues } from '../../graph/weight-values.ts';
import type { GateSite, Group } from '../../units/types.ts';
import type { LinearConsumer, LinearRead, LinearReads } from './types.ts';

/** What determines the patches of a convolution besides the size of its kernel. */
const GEOMETRY = ['strides', 'pads', 'dilations', 'auto_pad'];

/**
 * The consumers of a group that compute weighted sums of its units with constant weights: Conv without groups, of any
 * rank, strides, pads and dilations; Gemm and MatMul with the weight on either side. Consumers that read the same value in
 * the same way share their columns.
 */
export function linearReads(group: Group): LinearReads {
  const byKey = new Map<string, LinearRead>();
  const uncovered = new Set<Node>();
  for (const site of group.sites) {
    const operand = site.node.inputs[site.input];
    const read = operand && readOf(site, operand);
    if (!read) {
      uncovered.add(site.node);
      continue;
    }
    const { node } = site;
    const how = read.kernel ? [read.kernel.join(), ...GEOMETRY.map((name) => attributeText(node, name))] : [];
    const key = [operand.name, site.axis, read.units.join(), ...how].join('|');
    const known = byKey.get(key);
    if (known) known.consumers.push(...read.consumers);
    else byKey.set(key, read);
  }
  return { reads: [...byKey.values()], uncovered: [...uncovered] };
}

/**
 * The weights of all consumers of a read at some columns (all, if not given), in double precision: columns × outputs,
 * the outputs of one consumer after another.
 */
export function stackedWeights(
  read: LinearRead,
  columns: readonly number[] = Array.from({ length: read.columns }, (_, c) => c),
): { outputs: number; weights: Float64Array } {
  const outputs = read.consumers.reduce((sum, c) => sum + c.outputs, 0);
  const weights = new Float64Array(columns.length * outputs);
  let first = 0;
  for (const { weight, scale, outputs: own, outputStride, columnStride } of read.consumers) {
    columns.forEach((c, row) => {
      for (let o = 0; o < own; o++)
        weights[row * outputs + first + o] = scale * weight.data[o * outputStride + c * columnStride];
    });
    first += own;
  }
  return { outputs, weights };
}

/** Columns of each unit in ascending order. */
export function columnsOfUnits(units: Int32Array, size: number): number[][] {
  const columns: number[][] = Array.from({ length: size }, () => []);
  units.forEach((unit, c) => {
    if (unit >= 0) columns[unit].push(c);
  });
  return columns;
}

function readOf(site: GateSite, operand: Value): LinearRead | undefined {
  const rank = operand.type?.shape?.length;
  // A gate of its own kind stands where the consumer does more than to sum up.
  if (rank === undefined || site.gate || operand.initializer || site.node.graph.owner) return undefined;
  if (site.node.op === 'Conv') return convolved(site, operand);
  if (site.node.op === 'Gemm' || site.node.op === 'MatMul') return multiplied(site, operand, rank);
  return undefined;
}

function convolved({ node, input, axis, units }: GateSite, operand: Value): LinearRead | undefined {
  if (input !== 0 || axis !== 1 || node.int('group', 1) !== 1) return undefined;
  const weight = operandValues(node, 1);
  if (!weight) return undefined;
  const [outputs, channels, ...kernel] = weight.dims;
  const volume = kernel.reduce((a, b) => a * b, 1);
  const columns = channels * volume;
  const consumer: LinearConsumer = {
    node,
    input,
    weightInput: 1,
    weight,
    outputs,
    outputStride: columns,
    columnStride: 1,
    scale: 1,
  };
  const ofColumns = Int32Array.from({ length: columns }, (_, c) => units[Math.floor(c / volume)]);
  return { consumers: [consumer], operand, axis, columns, units: ofColumns, kernel };
}

function multiplied({ node, input, axis, units }: GateSite, operand: Value, rank: number): LinearRead | undefined {
  if (input > 1 || axis !== summedAxis(node, input, rank)) return undefined;
  const weightInput = 1 - input;
  const weight = operandValues(node, weightInput);
  if (weight?.dims.length !== 2) return undefined;
  const columnAxis = summedAxis(node, weightInput, 2);
  const strides = [weight.dims[1], 1];
  const consumer: LinearConsumer = {
    node,
    input,
    weightInput,
    weight,
    outputs: weight.dims[1 - columnAxis],
    outputStride: strides[1 - columnAxis],
    columnStride: strides[columnAxis],
    scale: node.op === 'Gemm' ? node.float('alpha', 1) : 1,
  };
  return { consumers: [consumer], operand, axis, columns: weight.dims[columnAxis], units };
}

/** The axis of an operand of a matrix product that the product sums over. */
function summedAxis(node: Node, input: number, rank: number): number {
  const last = input === 0;
  const transposed = node.op === 'Gemm' && node.int(last ? 'transA' : 'transB', 0) !== 0;
  return last !== transposed ? rank - 1 : Math.max(0, rank - 2);
}

function attributeText(node: Node, name: string): string {
  return name === 'auto_pad' ? node.string(name, '') : node.ints(name, []).join();
}

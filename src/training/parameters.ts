import { constantTensor, readBy } from '../graph/edit.ts';
import type { Graph, Node, Value } from '../graph/ir.ts';
import { isParameter } from '../graph/parameters.ts';
import { isFloatType } from '../onnx/data-type.ts';

/** A weight that may be trained. */
export interface Parameter {
  /** Name of the initializer, or of the value that a Constant node gives. */
  name: string;
  dims: readonly number[];
  /** Names of the nodes that read it. */
  layers: readonly string[];
  /** At most one axis is longer than 1: biases, scales and shifts of normalisations. */
  isVector: boolean;
}

/** What to do with a weight; false: leave it as it is. */
export type ParameterRule = (parameter: Parameter) => { rate?: number; decays?: boolean } | boolean;

export interface ParameterChoice {
  /** Weights stay as they are whose name, or that of a node that reads them, matches one of these (`*`: anything). */
  frozen?: readonly string[];
  /** Weight decay for biases and normalisations too (default true, as torch does). */
  decayVectors?: boolean;
}

/** The rule that freezes by name and spares vectors from weight decay. */
export function parameterRule({ frozen = [], decayVectors = true }: ParameterChoice): ParameterRule {
  const patterns = frozen.map(globPattern);
  return ({ name, layers, isVector }) =>
    patterns.some((p) => [name, ...layers].some((n) => p.test(n))) ? false : { decays: decayVectors || !isVector };
}

function globPattern(glob: string): RegExp {
  const parts = glob.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`, 's');
}

/** Turns Constant nodes that give floating-point weights into initializers of the same name, in place. */
export function liftConstants(graph: Graph): void {
  for (const node of [...graph.nodes]) {
    const [value] = node.outputs;
    if (node.op !== 'Constant' || !value || value.isGraphOutput || !isParameter(value)) continue;
    const tensor = constantTensor(value)!;
    if (!isFloatType(tensor.dataType)) continue;
    graph.removeNode(node, false);
    value.initializer = tensor.renamed(value.name);
    value.type = { kind: 'tensor', elemType: tensor.dataType, shape: [...tensor.dims] };
  }
}

/** Floating-point weights of the main graph, in file order: the initializers that training may change. */
export function parametersOf(graph: Graph): { value: Value; parameter: Parameter }[] {
  return graph.initializers
    .filter((v) => isFloatType(v.initializer!.dataType) && isParameter(v) && !isTable(v))
    .map((value) => {
      const { dims } = value.initializer!;
      const layers = value.uses.map((u) => u.node.name);
      return { value, parameter: { name: value.name, layers, dims, isVector: longAxes(dims) <= 1 } };
    });
}

function longAxes(dims: readonly number[]): number {
  return dims.filter((d) => d > 1).length;
}

/** Larger numbers stand in masks, not in weights. */
const LARGEST_WEIGHT = 1e4;

/**
 * Constants that are no weights although they are read as such: lone factors (the scale of attention), tables that are
 * multiplied elementwise (sines and cosines of rotary positions), masks with very large numbers.
 */
function isTable(value: Value): boolean {
  const tensor = value.initializer!;
  const readBy = (ops: RegExp) => value.uses.every(({ node }) => node.domain === '' && ops.test(node.opType));
  if (readBy(/^(Mul|Div|Pow)$/)) return tensor.elementCount === 1 || longAxes(tensor.dims) > 1;
  return readBy(/^(Add|Sub|Where|Min|Max)$/) && tensor.values().some((x) => !(Math.abs(x) <= LARGEST_WEIGHT));
}

/** Every value that one is computed from. */
export function sourcesOf(value: Value): Set<Value> {
  const found = new Set<Value>([value]);
  const stack: Node[] = value.producer ? [value.producer] : [];
  while (stack.length > 0)
    for (const v of readBy(stack.pop()!)) {
      if (found.has(v)) continue;
      found.add(v);
      if (v.producer) stack.push(v.producer);
    }
  return found;
}

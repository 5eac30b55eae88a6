import type { Node } from '../../graph/ir.ts';
import { describe, type Axis, type Flow } from '../flow.ts';
import { isWeight } from './contracting.ts';
import type { Rules } from './rule.ts';

/** Subscripts of every operand and of the output, one label per axis. Axes of an ellipsis are called .1, .2, … from the right. */
export interface Equation {
  operands: string[][];
  output: string[];
}

/**
 * Reads the equation of an Einsum. Blanks do not count; without `->` the output has the ellipsis and then every letter
 * that stands once, in the order of the alphabet (https://onnx.ai/onnx/operators/onnx__Einsum.html).
 * @param ranks rank of each operand
 * @returns undefined where the equation does not fit the operands
 */
export function parseEquation(equation: string, ranks: readonly number[]): Equation | undefined {
  const [left, right, ...more] = equation.replace(/\s+/g, '').split('->');
  const terms = left.split(',');
  if (more.length || terms.length !== ranks.length) return undefined;
  const operands: string[][] = [];
  for (const [i, term] of terms.entries()) {
    const letters = labelsOf(term, ranks[i]);
    if (letters?.length !== ranks[i]) return undefined;
    operands.push(letters);
  }
  const all = operands.flat();
  const common = [...new Set(all.filter(isEllipsis))].sort((a, b) => Number(b.slice(1)) - Number(a.slice(1)));
  if (right === undefined) {
    const once = all.filter((l) => !isEllipsis(l) && all.indexOf(l) === all.lastIndexOf(l));
    return { operands, output: [...common, ...once.sort()] };
  }
  const letters = [...right.replace('...', '')].length;
  const output = labelsOf(right, letters + (right.includes('...') ? common.length : 0));
  if (!output?.every((l) => all.includes(l)) || new Set(output).size !== output.length) return undefined;
  return { operands, output };
}

function labelsOf(term: string, rank: number): string[] | undefined {
  const [before, after, ...more] = term.split('...');
  if (more.length || /[^A-Za-z]/.test(before + (after ?? ''))) return undefined;
  if (after === undefined) return [...before];
  const hidden = Math.max(0, rank - before.length - after.length);
  return [...before, ...Array.from({ length: hidden }, (_, i) => `.${hidden - i}`), ...after];
}

const isEllipsis = (label: string) => label.startsWith('.');

/**
 * Einsum. Axes of one letter go together. A letter that the output lacks is contracted, gated on one operand that has it:
 * the first that is no weight. A letter that weights alone bring is produced by them; where they contract it among
 * themselves, the last of them is gated.
 */
function einsum(node: Node, flow: Flow): void {
  const axes = node.inputs.map((_, i) => flow.axes(node, i));
  const ranks = axes.map((a) => a?.length ?? -1);
  const equation = ranks.includes(-1) ? undefined : parseEquation(node.string('equation', ''), ranks);
  if (!equation) return flow.barrier(node, `feeds ${describe(node)}, whose equation or shapes are not understood`);
  const weights = node.inputs.map((_, i) => isWeight(node, i, flow));
  const inActivations = (letter: string) =>
    equation.operands.filter((o, i) => !weights[i] && o.includes(letter)).length;
  const attends = equation.operands.flat().some((l) => !equation.output.includes(l) && inActivations(l) > 1);
  const letters = new Map<string, Axis>();
  for (const letter of new Set(equation.operands.flat())) {
    const places = placesOf(node, flow, equation, letter);
    const twice = equation.operands.some((o) => o.indexOf(letter) !== o.lastIndexOf(letter));
    if (twice) places.forEach((p) => flow.freeze(p.axis, `is read along a diagonal by ${describe(node)}`));
    const axis = places.map((p) => p.axis).reduce((a, b) => flow.unite(a, b), places[0]?.axis ?? 'has one position');
    letters.set(letter, axis);
    const ours = places.filter((p) => !weights[p.operand]);
    const carried = equation.output.includes(letter);
    const at = ours[0] ?? places[places.length - 1];
    if (!carried && at) flow.contract(node, at.operand, at.index);
    if (ours.length === 0 && (carried || places.length > 1))
      places.forEach((p) => (carried || p !== at) && flow.produce(node, p.operand, p.index));
    // Activations that are summed over together are an attention: what both have and the output keeps are its heads.
    if (attends) flow.role(axis, carried && inActivations(letter) > 1 ? 'head' : 'head-dim');
  }
  flow.macs(node, [...letters.values()]);
  flow.setAxes(
    node,
    0,
    equation.output.map((letter) => letters.get(letter)!),
  );
}

/** Where a letter stands; axes with one position are spread over those of the others. */
function placesOf(node: Node, flow: Flow, equation: Equation, letter: string) {
  return equation.operands.flatMap((letters, operand) =>
    letters.flatMap((l, index) => {
      if (l !== letter || flow.shape(node.inputs[operand])?.[index] === 1) return [];
      return [{ operand, index, axis: flow.axes(node, operand)![index] }];
    }),
  );
}

export const einsums: Rules = { Einsum: einsum };

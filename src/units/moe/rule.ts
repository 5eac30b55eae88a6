import type { Node, Value } from '../../graph/ir.ts';
import { type Constants, rankOf } from './constants.ts';
import { combine, type Tag, type Tagged } from './tags.ts';

/** What rules ask of the walk that calls them, and what they tell it. */
export interface Tracking {
  /** Number of experts by the router. */
  readonly width: number;
  readonly constants: Constants;
  tag(value: Value | null | undefined): Tag | undefined;
  /** A node that chooses experts: the numbers of the chosen, where it gives them, and how many. */
  chose(node: Node, indices: Value | null, k: number | undefined): void;
  /** A weight `[experts, …]` is read by all experts at once (`lookup`: by the numbers of the chosen). */
  stacked(node: Node, weight: Value, lookup: boolean): void;
  /** `value` holds results of all experts along `axis`, made without knowing which are chosen. @returns false when it does not. */
  results(value: Value, axis: number): boolean;
  /** Experts are told apart by their place among those that were hit. */
  byPlace(): void;
}

/** Tags of a node's outputs, given those of its inputs. */
export type Rule = (node: Node, t: Tracking) => (Tag | undefined)[];

/** What the inputs have in common. */
export function all(node: Node, t: Tracking): Tag | undefined {
  return combine(taggedInputs(node, t), rankOf(node.outputs[0]));
}

/** Tags of the inputs that have one. */
export function taggedInputs(node: Node, t: Tracking): Tagged[] {
  return node.inputs.flatMap((value) => {
    const tag = t.tag(value);
    return tag ? [{ tag, rank: rankOf(value) }] : [];
  });
}

/** Axes of a node, given as attribute or as operand. */
export function axesOf(node: Node, t: Tracking): number[] | undefined {
  return node.ints('axes') ?? t.constants.ints(node.inputs[1]);
}

import type { Node } from '../../graph/ir.ts';
import type { Flow } from '../flow.ts';

/** How an op carries, contracts or fixes the axes of its inputs. Adding an op is one rule. */
export type Rule = (node: Node, flow: Flow) => void;

/** Op names (`Conv`, `com.microsoft.Gelu`) to rules. */
export type Rules = Record<string, Rule>;

/** The same rule for several ops. */
export function same(rule: Rule, ops: string): Rules {
  return Object.fromEntries(
    ops
      .split(/\s+/)
      .filter(Boolean)
      .map((op) => [op, rule]),
  );
}

/** Non-negative axis. */
export function axisIndex(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis;
}

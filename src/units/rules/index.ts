import type { Node } from '../../graph/ir.ts';
import { describe, type Flow } from '../flow.ts';
import { attending } from './attention.ts';
import { carrying } from './carrying.ts';
import { contracting } from './contracting.ts';
import { fused } from './fused.ts';
import { indexing } from './indexing.ts';
import { einsums } from './einsum.ts';
import { moving } from './moving.ts';
import { normalising } from './normalising.ts';
import { quantisedRules } from './quantised.ts';
import { rare } from './rare.ts';
import { recurring } from './recurrent.ts';
import { reducing } from './reducing.ts';
import { slicing } from './slice.ts';
import type { Rules } from './rule.ts';

const RULES: Rules = {
  ...attending,
  ...carrying,
  ...contracting,
  ...einsums,
  ...moving,
  ...normalising,
  ...fused,
  ...indexing,
  ...quantisedRules,
  ...rare,
  ...recurring,
  ...reducing,
  ...slicing,
};

/** Applies the rule of a node's op; an op without a rule, or one with subgraphs, is a wall that says so. */
export function applyRule(node: Node, flow: Flow): void {
  const rule = node.subgraphs.length ? undefined : RULES[node.op];
  if (rule) rule(node, flow);
  else if (node.subgraphs.length) flow.barrier(node, `is used inside ${describe(node)}`);
  else flow.barrier(node, `feeds ${describe(node)}, which is not understood`);
}

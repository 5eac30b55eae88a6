import { inlineBranch } from '../../graph/edit.ts';
import type { Model } from '../../graph/ir.ts';
import type { ShapeInfo } from '../../graph/shapes/index.ts';
import { constantsToInitializers } from './constants.ts';

/**
 * Opens every If of the main graph of which shapes and constants tell the branch: torch writes a squeeze of an axis whose size
 * its tracer did not know as an If that asks for the size. What a branch reads could not be pruned otherwise.
 * @returns Whether there was one.
 */
export function openBranches(model: Model, shapes: ShapeInfo): boolean {
  let opened = false;
  for (const node of [...model.graph.nodes]) {
    const condition = node.op === 'If' ? node.inputs[0] : null;
    const known = condition && !condition.isGraphInput ? shapes.constant(condition) : undefined;
    if (known?.length !== 1 || typeof known[0] !== 'number') continue;
    const branch = node.attributes.get(known[0] ? 'then_branch' : 'else_branch');
    if (branch?.kind !== 'graph') continue;
    inlineBranch(node, branch.value);
    opened = true;
  }
  if (opened) constantsToInitializers(model.graph);
  return opened;
}

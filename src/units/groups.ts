import type { Node } from '../graph/ir.ts';
import type { UnitKind } from '../formats.ts';
import type { BlockConstraint, Flow, Production } from './flow.ts';
import type { Labels } from './atoms.ts';
import type { GateSite, Group } from './types.ts';

/**
 * Groups from what the flow found: producing axes that share a class belong to one group, its units are the classes.
 * @param layerName readable name of a node
 * @param order position of a node in the graph
 */
export function formGroups(flow: Flow, layerName: (n: Node) => string, order: (n: Node) => number): Group[] {
  const productions = flow.productions.filter((p) => p.labels.length > 1).sort((a, b) => order(a.node) - order(b.node));
  const constraints = settleBlocks(flow, productions);
  const components = connect(flow, productions, constraints);
  const taken = new Set<string>();
  return components.map((members) => {
    const group = buildGroup(flow, members, order);
    group.blocks = blocksOf(flow, constraints, group, unitsOf(flow, members));
    let id = layerName(members[0].node);
    for (let i = 2; taken.has(id); i++) id = `${layerName(members[0].node)}#${i}`;
    taken.add(id);
    group.id = id;
    return group;
  });
}

/** Classes of a component in the order in which its axes name them. */
function unitsOf(flow: Flow, members: Production[]): Map<number, number> {
  const index = new Map<number, number>();
  for (const p of members) {
    for (const atom of p.labels) {
      const root = flow.atoms.find(atom);
      if (!index.has(root)) index.set(root, index.size);
    }
  }
  return index;
}

function unitArray(flow: Flow, units: Map<number, number>, labels: Labels): Int32Array {
  return Int32Array.from(labels, (atom) => units.get(flow.atoms.find(atom)) ?? -1);
}

function buildGroup(flow: Flow, members: Production[], order: (n: Node) => number): Group {
  const units = unitsOf(flow, members);
  const sites: GateSite[] = [];
  const seen = new Set<string>();
  for (const c of flow.contractions) {
    const array = unitArray(flow, units, c.labels);
    const key = `${order(c.node)}:${c.input}:${c.axis}`;
    if (seen.has(key) || array.every((u) => u < 0)) continue;
    seen.add(key);
    sites.push({ node: c.node, input: c.input, axis: c.axis, units: array });
  }
  sites.sort((a, b) => order(a.node) - order(b.node) || a.input - b.input);
  let reason: string | undefined;
  for (const root of units.keys()) reason ??= flow.atoms.frozenReason(root);
  if (!reason && units.size < 2) reason = 'has a single unit';
  if (!reason && sites.length === 0) reason = 'nothing reads its units';
  const unique = (nodes: Node[]) => [...new Set(nodes)];
  return {
    id: '',
    kind: kindOf(flow, members, units),
    size: units.size,
    layers: unique(members.map((p) => p.node)),
    consumers: unique(sites.map((s) => s.node)),
    atoms: Int32Array.from(units.keys()),
    sites,
    prunable: reason === undefined,
    ...(reason === undefined ? {} : { reason }),
    weights: members.map((p) => ({
      node: p.node,
      input: p.input,
      axis: p.axis,
      units: unitArray(flow, units, p.labels),
    })),
  };
}

function kindOf(flow: Flow, members: Production[], units: Map<number, number>): UnitKind {
  if (flow.headSplits.some((labels) => units.has(flow.atoms.find(labels[0])))) return 'head';
  return members.some((p) => p.node.opType.includes('Conv')) ? 'channel' : 'neuron';
}

/** Components of producing axes that share a class or a block constraint, in graph order. */
function connect(flow: Flow, productions: Production[], constraints: BlockConstraint[]): Production[][] {
  const parent = productions.map((_, i) => i);
  const find = (i: number): number => (parent[i] === i ? i : (parent[i] = find(parent[i])));
  const owner = new Map<number, number>();
  productions.forEach((p, i) => {
    for (const atom of p.labels) {
      const root = flow.atoms.find(atom);
      const first = owner.get(root);
      if (first === undefined) owner.set(root, i);
      else parent[Math.max(find(first), find(i))] = Math.min(find(first), find(i));
    }
  });
  for (const c of constraints) {
    const touched = [...new Set([...c.labels].flatMap((a) => owner.get(flow.atoms.find(a)) ?? []))];
    for (const i of touched.slice(1)) {
      const [a, b] = [find(touched[0]), find(i)];
      parent[Math.max(a, b)] = Math.min(a, b);
    }
  }
  const components = new Map<number, Production[]>();
  productions.forEach((p, i) => {
    const root = find(i);
    const list = components.get(root);
    if (list) list.push(p);
    else components.set(root, [p]);
  });
  return [...components.values()];
}

/**
 * Leaves only constraints that partition their units, at most one partition per set of units. Others are met by
 * uniting the positions of equal index in all blocks, so that every block loses the same.
 */
function settleBlocks(flow: Flow, productions: Production[]): BlockConstraint[] {
  const produced = () => new Set(productions.flatMap((p) => [...p.labels].map((a) => flow.atoms.find(a))));
  for (;;) {
    const known = produced();
    const partitions = new Map<number, string>();
    const kept: BlockConstraint[] = [];
    let changed = false;
    for (const c of flow.blocks) {
      const shape = constraintKind(flow, c);
      if (shape === 'even') continue;
      const signature = partitionSignature(flow, c);
      const roots = [...c.labels].map((a) => flow.atoms.find(a));
      const clash = roots.some((r) => partitions.has(r) && partitions.get(r) !== signature);
      if (shape === 'mixed' || clash || roots.some((r) => !known.has(r))) {
        coarsen(flow, c);
        changed = true;
        break;
      }
      roots.forEach((r) => partitions.set(r, signature));
      kept.push(c);
    }
    if (!changed) return kept;
  }
}

function constraintKind(flow: Flow, c: BlockConstraint): 'even' | 'partition' | 'mixed' {
  const size = c.labels.length / c.blocks;
  const counts = new Map<number, number[]>();
  c.labels.forEach((atom, p) => {
    const root = flow.atoms.find(atom);
    const row = counts.get(root) ?? Array<number>(c.blocks).fill(0);
    row[Math.floor(p / size)]++;
    counts.set(root, row);
  });
  const rows = [...counts.values()];
  if (rows.every((r) => r.every((n) => n === r[0]))) return 'even';
  return rows.every((r) => r.reduce((a, b) => a + b, 0) === 1) ? 'partition' : 'mixed';
}

function partitionSignature(flow: Flow, c: BlockConstraint): string {
  const size = c.labels.length / c.blocks;
  const blocks = Array.from({ length: c.blocks }, (_, b) =>
    [...c.labels.subarray(b * size, (b + 1) * size)]
      .map((a) => flow.atoms.find(a))
      .sort((x, y) => x - y)
      .join(','),
  );
  return blocks.sort().join(';');
}

function coarsen(flow: Flow, c: BlockConstraint): void {
  const size = c.labels.length / c.blocks;
  for (let b = 1; b < c.blocks; b++) {
    for (let i = 0; i < size; i++) flow.atoms.unite(c.labels[i], c.labels[b * size + i]);
  }
}

function blocksOf(
  flow: Flow,
  constraints: BlockConstraint[],
  group: Group,
  units: Map<number, number>,
): number[][] | undefined {
  for (const c of constraints) {
    const array = unitArray(flow, units, c.labels);
    if (array[0] < 0 || group.size === 0) continue;
    const size = array.length / c.blocks;
    return Array.from({ length: c.blocks }, (_, b) => [...array.subarray(b * size, (b + 1) * size)]);
  }
  return undefined;
}

import type { Node } from '../graph/ir.ts';
import type { UnitKind } from '../formats.ts';
import type { BlockConstraint, Flow, Production } from './flow.ts';
import type { Labels } from './atoms.ts';
import { findParts } from './parts.ts';
import type { GateSite, Group } from './types.ts';

/**
 * Groups from what the flow found: producing axes that share a class belong to one group, its units are the classes.
 * @param layerName readable name of a node
 * @param order position of a node in the graph
 */
export function formGroups(flow: Flow, layerName: (n: Node) => string, order: (n: Node) => number): Group[] {
  const productions = flow.productions.filter((p) => p.labels.length > 1).sort((a, b) => order(a.node) - order(b.node));
  let constraints = settleBlocks(flow, productions);
  let components = connect(flow, productions, constraints);
  for (let partial; (partial = partialConstraint(flow, components, constraints));) {
    coarsen(flow, partial);
    constraints = settleBlocks(flow, productions);
    components = connect(flow, productions, constraints);
  }
  const index = new UnitIndex(flow, components);
  const sites = gateSites(flow, index, components.length, order);
  const parts = findParts(
    flow,
    (atom) => index.place(atom),
    index.atoms.map((a) => a.length),
  );
  const taken = new Set<string>();
  return components.map((members, c) => {
    const stem = layerName(members[0].node);
    let id = stem;
    for (let i = 2; taken.has(id); i++) id = `${stem}#${i}`;
    taken.add(id);
    const group = buildGroup(flow, index, c, members, sites[c]);
    const constraint = constraints.find((k) => index.group(k.labels[0]) === c);
    if (constraint) group.blocks = blocksOf(index, constraint, c);
    if (parts[c].length) group.parts = parts[c];
    return { ...group, id };
  });
}

/** Which group, and which of its units, an atom belongs to. Units count in the order in which the axes name them. */
class UnitIndex {
  private readonly flow: Flow;
  private readonly groupOf: Int32Array;
  private readonly unitOf: Int32Array;
  /** One atom per unit, for each group. */
  readonly atoms: number[][];

  constructor(flow: Flow, components: Production[][]) {
    this.flow = flow;
    this.groupOf = new Int32Array(flow.atoms.count).fill(-1);
    this.unitOf = new Int32Array(flow.atoms.count);
    this.atoms = components.map((members, c) => {
      const atoms: number[] = [];
      for (const p of members) {
        for (const atom of p.labels) {
          const root = flow.atoms.find(atom);
          if (this.groupOf[root] >= 0) continue;
          this.groupOf[root] = c;
          this.unitOf[root] = atoms.length;
          atoms.push(root);
        }
      }
      return atoms;
    });
  }

  group(atom: number): number {
    return this.groupOf[this.flow.atoms.find(atom)];
  }
  place(atom: number): { group: number; unit: number } {
    const root = this.flow.atoms.find(atom);
    return { group: this.groupOf[root], unit: this.unitOf[root] };
  }
  /** For each label the unit of group `c`, −1 where it is another's. */
  units(labels: Labels, c: number): Int32Array {
    return labels.map((atom) => {
      const root = this.flow.atoms.find(atom);
      return this.groupOf[root] === c ? this.unitOf[root] : -1;
    });
  }
}

/** Gate sites of every group, in graph order, each operand axis once. */
function gateSites(flow: Flow, index: UnitIndex, groups: number, order: (n: Node) => number): GateSite[][] {
  const sites = Array.from({ length: groups }, (): GateSite[] => []);
  const seen = new Set<string>();
  for (const { node, input, axis, labels, gate } of flow.contractions) {
    const key = `${order(node)}:${input}:${axis}`;
    if (seen.has(key)) continue;
    seen.add(key);
    for (const c of new Set(labels.map((atom) => index.group(atom)))) {
      if (c >= 0) sites[c].push({ node, input, axis, units: index.units(labels, c), ...(gate && { gate }) });
    }
  }
  for (const list of sites) list.sort((a, b) => order(a.node) - order(b.node) || a.input - b.input);
  return sites;
}

function buildGroup(flow: Flow, index: UnitIndex, c: number, members: Production[], sites: GateSite[]): Group {
  const atoms = index.atoms[c];
  let reason: string | undefined;
  for (const atom of atoms) reason ??= flow.atoms.frozenReason(atom);
  if (!reason && atoms.length < 2) reason = 'has a single unit';
  if (!reason && sites.length === 0) reason = 'has no reader of its units';
  const unique = (nodes: Node[]) => [...new Set(nodes)];
  return {
    id: '',
    kind: kindOf(index, c, flow, members),
    size: atoms.length,
    layers: unique(members.map((p) => p.node)),
    consumers: unique(sites.map((s) => s.node)),
    atoms: Int32Array.from(atoms),
    sites,
    prunable: reason === undefined,
    ...(reason === undefined ? {} : { reason }),
    weights: members.map((p) => ({ node: p.node, input: p.input, axis: p.axis, units: index.units(p.labels, c) })),
  };
}

function kindOf(index: UnitIndex, c: number, flow: Flow, members: Production[]): UnitKind {
  if (flow.headSplits.some((labels) => index.group(labels[0]) === c)) return 'head';
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

/** A constraint that speaks of some units of a group only: blocks are those of a whole group. */
function partialConstraint(
  flow: Flow,
  components: Production[][],
  constraints: BlockConstraint[],
): BlockConstraint | undefined {
  const size = new Map<number, number>();
  for (const members of components) {
    const roots = new Set(members.flatMap((p) => [...p.labels].map((a) => flow.atoms.find(a))));
    roots.forEach((r) => size.set(r, roots.size));
  }
  // Each unit is named once: what is left of `settleBlocks` are partitions.
  return constraints.find((c) => c.labels.length !== size.get(flow.atoms.find(c.labels[0])));
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

function blocksOf(index: UnitIndex, constraint: BlockConstraint, c: number): number[][] {
  const units = index.units(constraint.labels, c);
  const size = units.length / constraint.blocks;
  return Array.from({ length: constraint.blocks }, (_, b) => [...units.subarray(b * size, (b + 1) * size)]);
}

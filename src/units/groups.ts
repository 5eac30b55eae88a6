import type { Node } from '../graph/ir.ts';
import type { UnitKind } from '../formats.ts';
import { Tiled, type BlockConstraint, type Flow, type Production } from './flow.ts';
import type { Labels } from './atoms.ts';
import { findParts } from './parts.ts';
import type { GateSite, Group } from './types.ts';

/**
 * Groups from what the flow found: units are classes of positions that go in their own right; those that
 * one axis produces belong to one group. An axis of heads × dimensions produces units of two groups.
 * @param layerName readable name of a node
 * @param order position of a node in the graph
 */
export function formGroups(flow: Flow, layerName: (n: Node) => string, order: (n: Node) => number): Group[] {
  const productions = flow.productions.filter((p) => p.labels.length > 1).sort((a, b) => order(a.node) - order(b.node));
  freezeUnusedParts(flow);
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
    index,
    index.atoms.map((a) => a.length),
  );
  const roles = rolesOf(flow, index, components.length);
  const taken = new Set<string>();
  return components.map(({ members }, c) => {
    const group = buildGroup(flow, index, c, members, sites[c]);
    group.kind = roles[c] ?? group.kind;
    // The first group of a layer has its name; others say what they are, dimensions beside heads.
    const stem = layerName(members[0].node);
    let id = stem;
    for (let i = 1; taken.has(id); i++) id = `${stem}#${group.kind}${i > 1 ? i : ''}`;
    taken.add(id);
    const constraint = constraints.find((k) => index.unit(k.labels[0], c) >= 0);
    if (constraint) group.blocks = blocksOf(index, constraint, c);
    if (parts[c].length) group.parts = parts[c];
    return { ...group, id };
  });
}

/** Classes that are one group, and the axes that produce them. */
interface Component {
  has(root: number): boolean;
  members: Production[];
}

/** Which group, and which of its units, an atom belongs to. Units count in the order in which the axes name them. */
class UnitIndex {
  private readonly flow: Flow;
  private readonly groupOf: Int32Array;
  private readonly unitOf: Int32Array;
  /** One atom per unit, for each group. */
  readonly atoms: number[][];

  constructor(flow: Flow, components: Component[]) {
    this.flow = flow;
    this.groupOf = new Int32Array(flow.atoms.count).fill(-1);
    this.unitOf = new Int32Array(flow.atoms.count);
    const free = new Uint8Array(flow.atoms.count);
    this.atoms = components.map((component, c) => {
      const { members } = component;
      const has = removable(flow, component, free);
      const atoms: number[] = [];
      const name = (root: number) => {
        if (this.groupOf[root] >= 0 || !has(root)) return;
        this.groupOf[root] = c;
        this.unitOf[root] = atoms.length;
        atoms.push(root);
      };
      for (const { labels } of members) flow.atoms.forCauses(labels, name);
      return atoms;
    });
  }

  /** The unit of group `c` that a position goes with, −1 where there is none. */
  unit(atom: number, c: number): number {
    const root = this.flow.atoms.causeWith(atom, this.groupOf, c);
    return root < 0 ? -1 : this.unitOf[root];
  }

  /** For each label the unit of group `c`, −1 where it has none. */
  units(labels: Labels, c: number): Int32Array {
    const units = new Int32Array(labels.length);
    for (let p = 0; p < units.length; p++) units[p] = this.unit(labels[p], c);
    return units;
  }

  /**
   * The same, for all units that a position goes with: where an axis meets itself (the matrix of all products of two
   * units), a position goes with either of two units of one group.
   */
  layers(labels: Labels, c: number): Int32Array[] {
    const { atoms } = this.flow;
    const layers = [this.units(labels, c)];
    for (let p = 0; p < labels.length; p++) {
      if (!atoms.isComposite(labels[p])) continue;
      const roots = atoms.causes(labels[p]).filter((root) => this.groupOf[root] === c);
      for (let k = 1; k < roots.length; k++)
        (layers[k] ??= new Int32Array(labels.length).fill(-1))[p] = this.unitOf[roots[k]];
      if (roots.length > 1) layers[0][p] = this.unitOf[roots[0]];
    }
    return layers;
  }

  /** The groups that positions of an axis go with, in the order in which they are met. */
  groups(labels: Labels): Set<number> {
    const met = new Set<number>();
    let [last, before] = [-1, -1];
    this.flow.atoms.forCauses(labels, (root) => {
      const group = this.groupOf[root];
      if (group < 0 || group === last || group === before) return;
      [before, last] = [last, group];
      met.add(group);
    });
    return met;
  }
}

/**
 * Which classes of a component are its units: where some may never go (channels that a Pad added), the others.
 * @param free where the others are marked
 */
function removable(flow: Flow, { members, has }: Component, free: Uint8Array): (root: number) => boolean {
  let count = 0;
  const mark = (root: number) => {
    if (free[root] || flow.atoms.isFrozen(root) || !has(root)) return;
    free[root] = 1;
    count++;
  };
  for (const { labels } of members) flow.atoms.forCauses(labels, mark);
  return count > 1 ? (root) => free[root] === 1 && has(root) : has;
}

/** Gate sites of every group, in graph order, each operand axis once for every unit that its positions go with. */
function gateSites(flow: Flow, index: UnitIndex, groups: number, order: (n: Node) => number): GateSite[][] {
  const sites = Array.from({ length: groups }, (): GateSite[] => []);
  const seen = new Set<string>();
  for (const { node, input, axis, labels, gate } of flow.contractions) {
    const key = `${order(node)}:${input}:${axis}`;
    if (seen.has(key)) continue;
    seen.add(key);
    for (const c of index.groups(labels)) {
      for (const units of index.layers(labels, c)) sites[c].push({ node, input, axis, units, ...(gate && { gate }) });
    }
  }
  for (const list of sites) list.sort((a, b) => order(a.node) - order(b.node) || a.input - b.input);
  return sites;
}

/** The first role that any position of a group has. */
function rolesOf(flow: Flow, index: UnitIndex, groups: number): (UnitKind | undefined)[] {
  const roles = Array<UnitKind | undefined>(groups).fill(undefined);
  for (const { labels, role } of flow.roles) for (const c of index.groups(labels)) roles[c] ??= role;
  return roles;
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
    kind: kindOf(members, sites),
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

function kindOf(members: Production[], sites: GateSite[]): UnitKind {
  if (members.some((p) => RECURRENT.has(p.node.opType))) return 'hidden';
  const embeds = members.some((p) => p.node.opType === 'Gather');
  if (embeds || sites.some(({ node }) => centres(node))) return 'width';
  if (sites.some((s) => /^(Skip|Embed)?(Simplified)?(Layer|RMS)Norm/.test(s.node.opType))) return 'width';
  return members.some((p) => p.node.opType.includes('Conv')) ? 'channel' : 'neuron';
}

/** The mean that a decomposed LayerNormalization takes away. */
function centres({ op, inputs, outputs }: Node): boolean {
  const subtracts = (n: Node) => n.op === 'Sub' && n.inputs[0] === inputs[0];
  return op === 'ReduceMean' && (outputs[0]?.uses.some((u) => subtracts(u.node)) ?? false);
}

const RECURRENT = new Set(['LSTM', 'GRU', 'RNN', 'DynamicQuantizeLSTM']);

/** Ops that put axes into another order and shape. */
const ARRANGING = new Set(['Reshape', 'Transpose', 'Flatten', 'Squeeze', 'Unsqueeze', 'Identity', 'Cast', 'Expand']);

/**
 * A part of an axis that nothing but other arrangements sees (the groups of a channel shuffle) is an order of positions, no
 * unit of its own. Where that is so of all parts of an axis, the largest stays.
 */
function freezeUnusedParts(flow: Flow): void {
  const { atoms } = flow;
  const used = new Set<number>();
  for (const [value, axes] of flow.tracked) {
    if (!value.uses.some(({ node }) => !ARRANGING.has(node.op))) continue;
    for (const axis of axes) {
      const labels = axis instanceof Tiled ? axis.labels : axis;
      if (typeof labels === 'string' || labels.length === 0 || atoms.isComposite(labels[0])) continue;
      used.add(atoms.family(labels[0]));
    }
  }
  // Fused attention tells heads from dimensions although no value has them as axes.
  for (const { labels } of flow.roles)
    if (labels.length) for (const c of atoms.causes(labels[0])) used.add(atoms.family(c));
  for (const parts of atoms.splits) {
    // A part that is itself split has given its units away.
    const idle = parts.filter((labels) => !atoms.isComposite(labels[0]) && !used.has(atoms.family(labels[0])));
    if (idle.length === parts.length)
      idle.splice(idle.indexOf(idle.reduce((a, b) => (b.length >= a.length ? b : a))), 1);
    for (const labels of idle) atoms.freeze(labels, 'is an order of positions, not a unit of its own');
  }
}

/**
 * Classes that are one group, with the axes that produce them, in graph order: those that one axis produces, those that are
 * the parts of one split, those that one block constraint speaks of.
 */
function connect(flow: Flow, productions: Production[], constraints: BlockConstraint[]): Component[] {
  const { atoms } = flow;
  const parent = new Int32Array(atoms.count).map((_, i) => i);
  const find = (root: number): number => {
    while (parent[root] !== root) root = parent[root] = parent[parent[root]];
    return root;
  };
  /** A visitor of roots that puts all that it sees together. */
  const together = () => {
    let first = -1;
    return (root: number) => {
      if (first < 0) first = root;
      else parent[find(root)] = find(first);
    };
  };
  const tieOwn = (labels: Labels) => {
    const tie = together();
    for (const atom of labels) if (!atoms.isComposite(atom)) tie(atoms.find(atom));
  };
  for (const { labels } of productions) {
    tieOwn(labels);
    // What positions go with that go with others: the heads are alike, and so are the dimensions.
    const alike = new Map<number, (root: number) => void>();
    for (const atom of labels) {
      if (!atoms.isComposite(atom)) continue;
      for (const root of atoms.causes(atom)) {
        const family = atoms.family(root);
        let tie = alike.get(family);
        if (!tie) alike.set(family, (tie = together()));
        tie(root);
      }
    }
  }
  for (const labels of atoms.splits.flat()) tieOwn(labels);
  for (const { labels } of constraints) tieOwn(labels);

  const components = new Map<number, Component>();
  for (const p of productions) {
    let last = -1;
    atoms.forCauses(p.labels, (root) => {
      const key = find(root);
      if (key === last) return;
      last = key;
      const known = components.get(key);
      if (!known) components.set(key, { has: (r) => find(r) === key, members: [p] });
      else if (known.members[known.members.length - 1] !== p) known.members.push(p);
    });
  }
  // Where heads and dimensions are both frozen, the axis is listed once; a single part of it is no unit of its own.
  const listed = new Set<Production>();
  return [...components.values()].filter(({ members, has }) => {
    const useless = () => {
      let [free, only, several] = [false, -1, false];
      for (const { labels } of members) {
        atoms.forCauses(labels, (root) => {
          free ||= !atoms.isFrozen(root);
          if (root === only || !has(root)) return;
          several ||= only >= 0;
          only = root;
        });
        if (free && several) return false;
      }
      return !free || (only >= 0 && !several);
    };
    if (members.every((p) => listed.has(p)) && useless()) return false;
    members.forEach((p) => listed.add(p));
    return true;
  });
}

/**
 * Leaves only constraints that partition their units, at most one partition per set of units. Others are met by
 * uniting the positions of equal index in all blocks, so that every block loses the same.
 */
function settleBlocks(flow: Flow, productions: Production[]): BlockConstraint[] {
  if (flow.blocks.length === 0) return [];
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
      const fixed = roots.filter((r) => flow.atoms.frozenReason(r) !== undefined).length;
      const partly = fixed > 0 && fixed < roots.length;
      if (shape === 'mixed' || clash || partly || roots.some((r) => !known.has(r))) {
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
  components: Component[],
  constraints: BlockConstraint[],
): BlockConstraint | undefined {
  if (constraints.length === 0) return undefined;
  const size = new Map<number, number>();
  for (const { members, has } of components) {
    const all = members.flatMap((p) => [...p.labels].flatMap((a) => flow.atoms.causes(a)));
    const roots = new Set(all.filter(has));
    roots.forEach((r) => size.set(r, roots.size));
  }
  // Each unit is named once: what is left of `settleBlocks` are partitions.
  return constraints.find((c) => c.labels.length !== size.get(flow.atoms.find(c.labels[0])));
}

function constraintKind(flow: Flow, c: BlockConstraint): 'even' | 'partition' | 'mixed' {
  const size = c.labels.length / c.blocks;
  if (c.labels.some((a) => flow.atoms.isComposite(a))) {
    return c.labels.every((a, p) => flow.atoms.same(a, c.labels[p % size])) ? 'even' : 'mixed';
  }
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

import { modelCost, isParameter, parameterCount } from '../graph/cost.ts';
import type { CostTerm } from '../formats.ts';
import type { Value } from '../graph/ir.ts';
import type { Atoms, Labels } from './atoms.ts';
import { BlockNeeds, type Needs } from './residual.ts';
import type { Group, Structure } from './types.ts';

/**
 * The model's cost as a sum of products over the kept units of its groups. With all units kept the terms add up to the
 * totals of `modelCost`; with a keep-set they give those of the pruned model, residual blocks that go included. Two approximations: a tensor which several
 * layers share is counted once even where they come to keep different units, and an axis that holds only some of a
 * group's units is taken to lose its share of them.
 */
export function costTerms(structure: Structure): CostTerm[] {
  const { model, flow, layerName } = structure;
  const owners = new Owners(structure);
  const known = new Map<Labels, Factor[][]>();
  const sumsOf = (labels: Labels): Factor[][] => {
    let sums = known.get(labels);
    if (!sums) known.set(labels, (sums = axisSize(labels, owners)));
    return sums;
  };
  const blocks = structure.groups.find((g) => g.residuals && g.prunable);
  const needsOf = new BlockNeeds(model.graph, blocks?.residuals ?? []);
  const terms: CostTerm[] = [];
  const add = (layer: string, macs: number, parameters: number, axes: Labels[], sets: Needs) => {
    if (macs === 0 && parameters === 0) return;
    const size = axes.reduce((n, a) => n * a.length, 1);
    const needs = sets.map((units) => ({ id: blocks!.id, units: [...units] }));
    // A product of sums, multiplied out.
    const products = axes
      .map(sumsOf)
      .reduce<Factor[][]>((all, sums) => all.flatMap((p) => sums.map((s) => [...p, ...s])), [[]]);
    for (const factors of products) {
      const plain = factors.filter((f) => f.groups.length || f.fixed !== 1);
      terms.push({
        layer,
        macs: macs / size,
        parameters: parameters / size,
        factors: plain,
        ...(needs.length ? { needs } : {}),
      });
    }
  };
  for (const layer of modelCost(model).layers)
    for (const { axes, share } of flow.macTerms.get(layer.node) ?? [{ axes: [], share: 1 }])
      add(layerName(layer.node), layer.macs * share, 0, axes, needsOf.node(layer.node));
  const counted = new Set<unknown>();
  const count = (value: Value, layer: string) => {
    if (!value.initializer || counted.has(value.initializer.storage) || !isParameter(value)) return;
    counted.add(value.initializer.storage);
    const axes =
      flow.weightAxes.get(value) ?? (flow.axesOf(value) ?? []).filter((a): a is Labels => a instanceof Int32Array);
    add(layer, 0, parameterCount(value), axes, needsOf.weight(value));
  };
  for (const node of model.graph.nodes) for (const value of node.inputs) if (value) count(value, layerName(node));
  return terms;
}

type Factor = CostTerm['factors'][number];

/** Which prunable groups, and which of their units, classes of positions are. */
class Owners {
  readonly groups: readonly Group[];
  readonly atoms: Atoms;
  /** Of a representative the index of its group, −1 where there is none, and its unit. */
  readonly groupOf: Int32Array;
  readonly unitOf: Int32Array;

  constructor({ groups, flow: { atoms } }: Structure) {
    this.groups = groups;
    this.atoms = atoms;
    this.groupOf = new Int32Array(atoms.count).fill(-1);
    this.unitOf = new Int32Array(atoms.count);
    groups.forEach(({ prunable, atoms: units }, g) => {
      if (!prunable) return;
      units.forEach((atom, unit) => {
        const root = atoms.find(atom);
        this.groupOf[root] = g;
        this.unitOf[root] = unit;
      });
    });
  }

  /** Puts the units that a position goes with into a list, and gives their number. */
  read(atom: number, into: number[]): number {
    const all = this.atoms.readCauses(atom, into);
    let count = 0;
    for (let i = 0; i < all; i++) if (this.groupOf[into[i]] >= 0) into[count++] = into[i];
    return count;
  }
}

/** Positions of an axis that go with the same groups, and which units of these they go with. */
interface Product {
  groups: number[];
  positions: number;
  units: Map<number, MetUnits>;
}

/** The units of a group that were met, and how many these are. */
interface MetUnits {
  met: Uint8Array;
  count: number;
}

/**
 * The size of an axis as a sum of products: positions that go with one group or none make one sum, positions that go with
 * any of several groups (heads × dimensions) one product for each set of groups.
 */
function axisSize(labels: Labels, owners: Owners): Factor[][] {
  const { groups, groupOf, unitOf } = owners;
  const single = new Map<number, number>();
  const several = new Map<string, Product>();
  const mine: number[] = [];
  let product: Product | undefined;
  let [fixed, last, run] = [0, -1, 0];
  const finish = () => run > 0 && single.set(last, (single.get(last) ?? 0) + run);
  for (const atom of labels) {
    const count = owners.read(atom, mine);
    if (count === 0) fixed++;
    else if (count === 1) {
      if (groupOf[mine[0]] === last) run++;
      else {
        finish();
        [last, run] = [groupOf[mine[0]], 1];
      }
    } else {
      // Positions of one axis mostly go with the same groups, in the same order.
      if (!product || !goesWith(product, mine, count, groupOf)) {
        const own = mine.slice(0, count).map((root) => groupOf[root]);
        const key = [...own].sort((a, b) => a - b).join();
        product = several.get(key) ?? { groups: own, positions: 0, units: new Map<number, MetUnits>() };
        product.groups = own;
        several.set(key, product);
      }
      product.positions++;
      for (let k = 0; k < count; k++) {
        let all = product.units.get(groupOf[mine[k]]);
        if (!all)
          product.units.set(groupOf[mine[k]], (all = { met: new Uint8Array(groups[groupOf[mine[k]]].size), count: 0 }));
        all.count += 1 - all.met[unitOf[mine[k]]];
        all.met[unitOf[mine[k]]] = 1;
      }
    }
  }
  finish();
  const sums: Factor[][] = [];
  if (fixed || single.size) {
    const factors = [...single].map(([g, positions]) => ({
      id: groups[g].id,
      multiplicity: positions / groups[g].size,
    }));
    sums.push([{ fixed, groups: factors }]);
  }
  for (const { positions, units, groups: own } of several.values()) {
    // Two different units of one group (an axis that meets itself): of n there are n · (n − 1).
    const met = [...units].flatMap(([g, u]) =>
      own.filter((o) => o === g).map((_, less) => ({ g, less, all: u.count })),
    );
    const grid = met.reduce((n, { all, less }) => n * (all - less), 1);
    sums.push(
      met.map(({ g, less, all }, i) => {
        const multiplicity = (all / groups[g].size) * (i === 0 ? positions / grid : 1);
        return { fixed: -less, groups: [{ id: groups[g].id, multiplicity }] };
      }),
    );
  }
  return sums;
}

function goesWith(product: Product, roots: readonly number[], count: number, groupOf: Int32Array): boolean {
  if (product.groups.length !== count) return false;
  for (let k = 0; k < count; k++) if (groupOf[roots[k]] !== product.groups[k]) return false;
  return true;
}

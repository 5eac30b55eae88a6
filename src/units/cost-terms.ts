import { modelCost, isParameter, parameterCount } from '../graph/cost.ts';
import type { CostTerm } from '../formats.ts';
import type { Value } from '../graph/ir.ts';
import type { Labels } from './atoms.ts';
import { BlockNeeds, type Needs } from './residual.ts';
import type { Structure } from './types.ts';

/**
 * The model's cost as a sum of products over the kept units of its groups. With all units kept the terms add up to the
 * totals of `modelCost`; with a keep-set they give those of the pruned model, residual blocks that go included. Two approximations: a tensor which several
 * layers share is counted once even where they come to keep different units, and an axis that holds only some of a
 * group's units is taken to lose its share of them.
 */
export function costTerms(structure: Structure): CostTerm[] {
  const { model, flow, layerName } = structure;
  const owners = unitOwners(structure);
  const sizes = new Map(structure.groups.map((g) => [g.id, g.size]));
  const known = new Map<Labels, Factor[][]>();
  const sumsOf = (labels: Labels): Factor[][] => {
    let sums = known.get(labels);
    if (!sums) known.set(labels, (sums = axisSize(labels, owners, sizes)));
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

/** Positions of an axis that go with the same groups, and which units of these they go with. */
interface Product {
  ids: string[];
  positions: number;
  units: Map<string, Set<number>>;
}

/**
 * The size of an axis as a sum of products: positions that go with one group or none make one sum, positions that go with
 * any of several groups (heads × dimensions) one product for each set of groups.
 */
function axisSize(
  labels: Labels,
  owners: (atom: number) => readonly { id: string; unit: number }[],
  sizes: ReadonlyMap<string, number>,
): Factor[][] {
  const single = new Map<string, number>();
  let fixed = 0;
  const several = new Map<string, Product>();
  let product: Product | undefined;
  let [last, run] = ['', 0];
  const finish = () => run > 0 && single.set(last, (single.get(last) ?? 0) + run);
  for (const atom of labels) {
    const mine = owners(atom);
    if (mine.length === 0) fixed++;
    else if (mine.length === 1) {
      if (mine[0].id === last) run++;
      else {
        finish();
        [last, run] = [mine[0].id, 1];
      }
    } else {
      // Positions of one axis mostly go with the same groups, in the same order.
      if (!product || product.ids.length !== mine.length || mine.some((o, k) => o.id !== product!.ids[k])) {
        const ids = mine.map((o) => o.id);
        const key = [...new Set(ids)].sort().join('\n');
        product = several.get(key) ?? { ids, positions: 0, units: new Map<string, Set<number>>() };
        product.ids = ids;
        several.set(key, product);
      }
      product.positions++;
      for (const { id, unit } of mine) {
        const all = product.units.get(id);
        if (all) all.add(unit);
        else product.units.set(id, new Set([unit]));
      }
    }
  }
  finish();
  const sums: Factor[][] = [];
  if (fixed || single.size) {
    const groups = [...single].map(([id, positions]) => ({
      id,
      multiplicity: positions / sizes.get(id)!,
    }));
    sums.push([{ fixed, groups }]);
  }
  for (const { positions, units } of several.values()) {
    const grid = [...units.values()].reduce((n, u) => n * u.size, 1);
    sums.push(
      [...units].map(([id, u], i) => {
        const multiplicity = (u.size / sizes.get(id)!) * (i === 0 ? positions / grid : 1);
        return { fixed: 0, groups: [{ id, multiplicity }] };
      }),
    );
  }
  return sums;
}

interface Owner {
  id: string;
  unit: number;
}

/** The units of prunable groups that an atom goes with. */
function unitOwners(structure: Structure): (atom: number) => readonly Owner[] {
  const { atoms } = structure.flow;
  const known = new Array<readonly Owner[] | undefined>(atoms.count);
  const none: readonly Owner[] = [];
  for (const { id, prunable, atoms: units } of structure.groups)
    if (prunable) units.forEach((atom, unit) => (known[atoms.find(atom)] = [{ id, unit }]));
  return (atom) => {
    const root = atoms.find(atom);
    const mine = known[root];
    if (mine) return mine;
    return (known[root] = atoms.isComposite(root) ? atoms.causes(root).flatMap((c) => known[c] ?? []) : none);
  };
}

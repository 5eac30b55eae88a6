import { describe, expect, it } from 'vitest';
import { modelCost } from '../../../src/graph/cost.ts';
import { pruneModel } from '../../../src/pruning/surgery.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { costTerms } from '../../../src/units/cost-terms.ts';
import type { CostTerm } from '../../../src/formats.ts';
import type { Structure } from '../../../src/units/types.ts';
import type { Value } from '../../../src/graph/ir.ts';
import { builder } from '../../support/build.ts';
import { randomKeep, seeded } from '../../support/invariant.ts';

function total(terms: CostTerm[], kept: (id: string) => number): { macs: number; parameters: number } {
  const sum = { macs: 0, parameters: 0 };
  for (const t of terms) {
    const size = t.factors.reduce(
      (n, f) => n * (f.fixed + f.groups.reduce((m, g) => m + g.multiplicity * kept(g.id), 0)),
      1,
    );
    sum.macs += t.macs * size;
    sum.parameters += t.parameters * size;
  }
  return sum;
}

function network(): Structure {
  const b = builder({ seed: 5 });
  let x: Value = b.relu(b.bn(b.conv(b.input('x', ['N', 3, 8, 8]), 3, 8, [3, 3], { name: 'stem', bias: 1 }), 8));
  x = b.add(x, b.conv(b.relu(b.conv(x, 8, 6, [1, 1], { name: 'a' })), 6, 8, [1, 1], { name: 'b' }));
  x = b.op('Conv', [x, b.weight([8, 1, 3, 3])], { group: 8, kernel_shape: [3, 3] }, 'dw');
  x = b.op('Conv', [x, b.weight([12, 4, 1, 1])], { group: 2, kernel_shape: [1, 1] }, 'grouped');
  x = b.concat([b.conv(x, 12, 4, [1, 1], { name: 'p' }), b.conv(x, 12, 5, [1, 1], { name: 'q' })]);
  x = b.relu(b.gemm(b.flatten(x), 9 * 16, 10, 'f1'));
  b.output(b.gemm(x, 10, 3, 'f2'));
  return analyseStructure(b.build());
}

describe('cost terms', () => {
  it('add up to the totals of the model, and of models pruned to random keep-sets', () => {
    const structure = network();
    const terms = costTerms(structure);
    const sizes = new Map(structure.groups.map((g) => [g.id, g.size]));
    const whole = modelCost(structure.model);
    expect(total(terms, (id) => sizes.get(id)!)).toEqual({ macs: whole.macs, parameters: whole.parameters });
    const random = seeded(9);
    for (let round = 0; round < 10; round++) {
      const keep = new Map(
        structure.groups.filter((g) => g.prunable).map((g) => [g.id, randomKeep(g, 0.2 + 0.8 * random(), random)]),
      );
      const pruned = modelCost(pruneModel(structure, keep).model);
      const predicted = total(terms, (id) => keep.get(id)?.length ?? sizes.get(id)!);
      expect(predicted.macs).toBeCloseTo(pruned.macs, 6);
      expect(predicted.parameters).toBeCloseTo(pruned.parameters, 6);
    }
  });

  it('agree with a count by hand', () => {
    const b = builder();
    const x = b.relu(b.gemm(b.input('x', ['N', 6]), 6, 10, 'f1'));
    b.output(b.gemm(x, 10, 3, 'f2'));
    const terms = costTerms(analyseStructure(b.build()));
    // f1: 6·k MACs, 6·k weights and k biases; f2: k·3 MACs, k·3 weights and 3 biases.
    for (const k of [1, 4, 10])
      expect(total(terms, () => k)).toEqual({ macs: 9 * k, parameters: 6 * k + k + 3 * k + 3 });
  });
});

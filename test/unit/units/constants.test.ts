import { expect, it } from 'vitest';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { Builder } from '../../support/build.ts';
import { checkInvariant } from '../../support/invariant.ts';

it('units of a table that was computed ahead of time go as those of the layer that it came from', async () => {
  const b = new Builder({ opset: 17 });
  const x = b.linear(b.input('x', ['N', 4, 6]), 6, 8, 'first');
  // A small network over constant coordinates whose first product the exporter has folded.
  const hidden = b.relu(b.op('Add', [b.weight([4, 12], 'table', 1), b.weight([12], 'bias', 1)], {}, 'folded'));
  const scale = b.op('Sigmoid', [b.op('MatMul', [hidden, b.weight([12, 8], 'w')], {}, 'second')]);
  // Coordinates that a layer reads as they are do not count as units.
  const offset = b.op('MatMul', [b.weight([4, 2], 'coordinates', 1), b.weight([2, 8], 'v')], {}, 'third');
  b.output(b.linear(b.add(b.mul(x, scale), offset), 8, 3, 'head'));
  const s = analyseStructure(b.build());
  expect(s.groups.filter((g) => g.prunable).map((g) => [g.id, g.size])).toEqual([
    ['first', 8],
    ['folded', 12],
  ]);
  const { results, tolerance } = await checkInvariant(s, { shares: [0.25, 0.5, 0.01], seed: 5 });
  for (const r of results) expect(r.diff, r.group).toBeLessThanOrEqual(tolerance);
});

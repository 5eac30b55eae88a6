/** Whole groups as players: which layer matters. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { calib, example, failure, model, run } from './jobs.ts';

const device = 'cpu' as const;
const shared = { model, data: calib, seed: 0, device, metric: 'cross-entropy' as const };

test('the Shapley values of layers that lose half of their units add up, and name the layers', async () => {
  const ranks = await run('rank', { ...shared, method: 'shapley', layers: { closing: 0.5 } });
  const units = await run('rank', { ...shared, method: 'magnitude' });
  expect(ranks.layers).toEqual({ closing: 0.5 });
  expect(ranks.groups).toHaveLength(1);
  const [group] = ranks.groups;
  expect(group).toMatchObject({ id: 'layers', kind: 'layer', size: units.groups.length, estimator: 'exact' });
  expect(group.units.map((u) => u.name)).toEqual(units.groups.map((g) => g.id));
  const sum = group.units.reduce((s, u) => s + u.score, 0);
  expect(sum).toBeCloseTo(group.value!.full - group.value!.empty, 8);
  // All open is the model itself.
  const { value } = await run('evaluate', { ...shared });
  expect(Math.abs(group.value!.full - value)).toBeLessThan(0.05);
});

test('what is lost without half of one layer is what the model loses when that half is pruned', async () => {
  const left = await run('rank', { ...shared, method: 'leave-one-out', layers: { closing: 0.5 } });
  const norms = await run('rank', { ...shared, method: 'magnitude-l2' });
  const [unit] = left.groups[0].units;
  const group = norms.groups[0];
  const order = [...group.units].sort((a, b) => a.score - b.score || a.index - b.index);
  const keep = order.slice(Math.round(group.size / 2)).map((u) => u.index);
  const { value } = await run('measure', { ...shared, keep: { [group.id]: keep.sort((a, b) => a - b) } });
  expect(left.groups[0].value!.full - unit.score).toBeCloseTo(value, 5);
});

test('a chain of layers, of which none can be missed, is said to be one', async () => {
  const lenet = join(example, '../lenet5');
  const ranks = await run('rank', {
    ...shared,
    model: join(lenet, 'model.onnx'),
    data: { path: join(lenet, 'calib.npz'), seed: 0 },
    method: 'shapley',
    layers: { closing: 1 },
  });
  const chain = /^Without any of these layers .*--closing 0\.5/;
  expect(ranks.warnings.some((w) => chain.test(w))).toBe(true);
  // Residual paths lead around the layers of the other example, but for those in front of all of them.
  const residual = await run('rank', { ...shared, method: 'leave-one-out', layers: { closing: 1 } });
  expect(residual.warnings.some((w) => chain.test(w))).toBe(false);
});

test('ranks of layers are no ranks of units', async () => {
  const ranks = await run('rank', { ...shared, method: 'leave-one-out', layers: { closing: 0.5 } });
  const plan = run('plan', {
    model,
    data: calib,
    ranks,
    target: { kind: 'keep-macs', value: 0.5 },
    allocation: 'global',
    minKeep: 0.25,
    roundTo: 1,
    frozen: [],
    seed: 0,
    device,
  });
  expect((await failure(plan)).message).toContain('whole layers');
});

test('methods that score units, a single layer and impossible shares are refused', async () => {
  expect((await failure(run('rank', { ...shared, method: 'magnitude', layers: { closing: 1 } }))).message).toContain(
    'cannot be ranked by magnitude',
  );
  const [first] = (await run('rank', { ...shared, method: 'magnitude' })).groups;
  const single = run('rank', { ...shared, method: 'shapley', groups: [first.id], layers: { closing: 1 } });
  expect((await failure(single)).message).toContain(first.id);
  const none = run('rank', { ...shared, method: 'shapley', layers: { closing: 0 } });
  expect((await failure(none)).code).toBe('usage');
});

/** Rankings by the Dirichlet switch, as the editor and the command line ask for them. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { GroupRanks, Ranks } from '../../../src/formats.ts';
import { builder } from '../../support/build.ts';
import { calib, failure, model, run, scratch, writeNpz } from './jobs.ts';

const params = { model, data: { ...calib, samples: 80 }, method: 'dirichlet', seed: 0, device: 'cpu' } as const;
const groups = ['block2/conv1', 'block3/conv1'];

test('the metric has a gradient, or one stands in for it and the result says so', async () => {
  const by = (metric?: 'accuracy' | 'cross-entropy' | 'agreement') =>
    run('rank', { ...params, metric, groups: [groups[1]], budget: 4 });
  const [own, accuracy, entropy, agreement] = [
    await by(),
    await by('accuracy'),
    await by('cross-entropy'),
    await by('agreement'),
  ];
  expect([own.metric, accuracy.metric, entropy.metric, agreement.metric]).toEqual([
    'kl',
    'cross-entropy',
    'cross-entropy',
    'kl',
  ]);
  expect(own.warnings).toEqual([]);
  expect(accuracy.warnings.join(' ')).toContain('accuracy has no gradient');
  expect(agreement.warnings.join(' ')).toContain('agreement has no gradient');
  expect(accuracy.groups[0].units).toEqual(entropy.groups[0].units);
  expect(own.groups[0].units).not.toEqual(entropy.groups[0].units);
});

test('a cancelled run keeps what it has, tells of it on the way, and is gone on with to the same ranks', async () => {
  const abort = new AbortController();
  const partial: GroupRanks[] = [];
  const stopped = await run(
    'rank',
    { ...params, groups },
    {
      signal: abort.signal,
      progress: (p) => {
        const found = p.partial as GroupRanks | undefined;
        if (found) partial.push(found);
        if (found?.id === groups[1] && found.switch!.steps === 9) abort.abort();
      },
    },
  );
  expect(stopped.complete).toBe(false);
  expect(stopped.groups.map((g) => [g.id, g.switch!.steps])).toEqual([
    [groups[0], 80],
    [groups[1], 9],
  ]);
  expect(partial.length).toBeGreaterThan(80);
  expect(partial.every((p) => p.units.length === 48)).toBe(true);
  const resume = JSON.parse(JSON.stringify(stopped)) as Ranks;
  const rest = await run('rank', { ...params, groups, resume });
  const whole = await run('rank', { ...params, groups });
  expect([rest.complete, rest.budget]).toEqual([true, whole.budget]);
  expect(rest.groups.map((g) => g.units)).toEqual(whole.groups.map((g) => g.units));
  const other = await failure(run('rank', { ...params, groups, resume, prior: 1 }));
  expect([other.code, other.message]).toEqual(['usage', expect.stringContaining('prior 2, not 1')]);
});

test('an operator without a gradient rule makes way for the score function, and the result names it', async () => {
  const folder = scratch();
  const b = builder({ seed: 6, opset: 17 });
  const hidden = b.relu(b.gemm(b.input('x', ['N', 5]), 5, 6, 'one'));
  const determinant = b.op('Det', [b.reshape(b.gemm(hidden, 6, 9, 'square'), [-1, 3, 3])]);
  b.output(b.gemm(b.relu(b.gemm(b.reshape(determinant, [-1, 1]), 1, 7, 'two')), 7, 2, 'three'));
  const path = join(folder, 'model.onnx');
  writeFileSync(path, b.bytes());
  const x = Float32Array.from({ length: 40 * 5 }, (_, i) => Math.sin(i * 1.7));
  const file = writeNpz(join(folder, 'data.npz'), { x: { dims: [40, 5], data: x } });
  const unlabelled = { ...params, model: path, data: { path: file, seed: 0 }, groups: ['one'] };
  const ranks = await run('rank', unlabelled);
  expect([ranks.complete, ranks.metric]).toEqual([true, 'mse']);
  expect(ranks.groups.map((g) => [g.id, g.switch!.gradient, g.switch!.draws])).toEqual([['one', 'score-function', 32]]);
  expect(ranks.warnings.join(' ')).toMatch(/Det.*no gradient rule.*Group 'one' has no gradients.*score function/);
  const point = await failure(run('rank', { ...unlabelled, form: 'point' }));
  expect([point.code, point.message]).toEqual(['unsupported', expect.stringContaining("'one'")]);
});

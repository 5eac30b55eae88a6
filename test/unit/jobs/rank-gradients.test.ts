/** Rankings by gradients on the examples, as the editor and the command line ask for them. */
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { MethodName, Ranks } from '../../../src/formats.ts';
import { spearman } from '../../../src/math/correlation.ts';
import type { Progress } from '../../../src/protocol.ts';
import { builder } from '../../support/build.ts';
import { failure, run, scratch, writeNpz } from './jobs.ts';

const device = 'cpu' as const;
const lenet = resolve(import.meta.dirname, '../../../examples/lenet5');
const model = join(lenet, 'model.onnx');
const data = { path: join(lenet, 'calib.npz'), samples: 120, seed: 0 };

const scoresOf = (ranks: Ranks, id: string) => ranks.groups.find((g) => g.id === id)!.units.map((u) => u.score);

function rank(method: MethodName, rest: { seed?: number; groups?: string[]; resume?: Ranks } = {}) {
  return run('rank', { model, data, method, metric: undefined, seed: 0, device, ...rest });
}

test('all groups are ranked, in the loss’s unit, and agree with what closing units costs', async () => {
  const [first, squared, signed, fisher] = [
    await rank('taylor'),
    await rank('taylor-squared'),
    await rank('taylor-signed'),
    await rank('fisher'),
  ];
  for (const ranks of [first, squared, signed, fisher]) {
    expect(ranks).toMatchObject({ metric: null, complete: true, warnings: [] });
    expect(ranks.groups.map((g) => g.id)).toEqual(['conv1', 'conv2', 'fc1']);
    for (const g of ranks.groups) {
      expect(g.units.map((u) => u.index)).toEqual(Array.from({ length: g.size }, (_, i) => i));
      for (const u of g.units) expect(u.stderr).toBeGreaterThanOrEqual(0);
      if (ranks !== signed) for (const u of g.units) expect(u.score).toBeGreaterThanOrEqual(0);
    }
  }
  expect(fisher.groups[0].estimator).toBe('exact over 10 answers');
  const cost = await run('rank', {
    model,
    data,
    method: 'leave-one-out',
    metric: 'cross-entropy',
    groups: ['fc1'],
    seed: 0,
    device,
  });
  // Neurons of a wide layer: each changes little, so that the first order is close to the truth.
  expect(spearman(scoresOf(signed, 'fc1'), scoresOf(cost, 'fc1'))).toBeGreaterThan(0.85);
  for (const id of ['conv1', 'conv2', 'fc1']) {
    expect(spearman(scoresOf(first, id), scoresOf(squared, id))).toBeGreaterThan(0.9);
    expect(spearman(scoresOf(first, id), scoresOf(fisher, id))).toBeGreaterThan(0.8);
  }
});

test('one backward pass serves all groups and methods of the task’s loss', async () => {
  const notes = (progress: Progress[]) => progress.filter((p) => / of at most /.test(p.note ?? ''));
  const seen: Record<string, number> = {};
  for (const method of ['taylor', 'taylor-squared', 'taylor-signed'] as const) {
    const progress: Progress[] = [];
    await run(
      'rank',
      { model, data: { ...data, samples: 90 }, method, seed: 0, device },
      { progress: (p) => progress.push(p) },
    );
    seen[method] = notes(progress).length;
  }
  expect(seen.taylor).toBeGreaterThan(0);
  expect([seen['taylor-squared'], seen['taylor-signed']]).toEqual([0, 0]);
});

test('a metric that has no part in the gradients is named', async () => {
  const ranks = async (method: 'taylor' | 'magnitude', metric: 'kl' | 'cross-entropy') =>
    (await run('rank', { model, data: { ...data, samples: 20 }, method, metric, seed: 0, device })).warnings;
  expect((await ranks('taylor', 'kl')).join(' ')).toMatch(/metric kl has no part in taylor/);
  expect(await ranks('taylor', 'cross-entropy')).toEqual([]);
  expect(await ranks('magnitude', 'kl')).toEqual([]);
});

test('a run that was cancelled in its pass is gone on with, to the same ranks', async () => {
  const abort = new AbortController();
  const stopped = await run(
    'rank',
    { model, data: { ...data, samples: 80 }, method: 'fisher', seed: 3, device },
    {
      signal: abort.signal,
      progress: (p) => {
        if (/of at most/.test(p.note ?? '')) abort.abort();
      },
    },
  );
  expect(stopped).toMatchObject({ complete: false, groups: [] });
  const resume = JSON.parse(JSON.stringify(stopped)) as Ranks;
  const params = { model, data: { ...data, samples: 80 }, method: 'fisher', seed: 3, device } as const;
  const resumed = await run('rank', { ...params, resume });
  const straight = await run('rank', params);
  expect(resumed.complete).toBe(true);
  expect(resumed.groups.map((g) => g.units)).toEqual(straight.groups.map((g) => g.units));
});

describe('models of all kinds', () => {
  /** Numbers in, numbers out, without targets; perhaps a determinant on the way, which has no gradient rule. */
  function write(determinant: boolean) {
    const folder = scratch();
    const b = builder({ seed: 6, opset: 17 });
    let y = b.relu(b.gemm(b.input('x', ['N', 5]), 5, 6, 'one'));
    if (determinant) y = b.reshape(b.op('Det', [b.reshape(b.gemm(y, 6, 9, 'square'), [-1, 3, 3])]), [-1, 1]);
    y = b.relu(b.gemm(y, determinant ? 1 : 6, 7, 'two'));
    b.output(b.gemm(y, 7, 2, 'three'));
    const path = join(folder, 'model.onnx');
    writeFileSync(path, b.bytes());
    const x = Float32Array.from({ length: 60 * 5 }, (_, i) => Math.sin(i * 1.7));
    const file = writeNpz(join(folder, 'data.npz'), { x: { dims: [60, 5], data: x } });
    return { model: path, data: { path: file, seed: 0 }, seed: 0, device };
  }

  test('without labels the result says what was differentiated', async () => {
    const ranks = await run('rank', { ...write(false), method: 'taylor' });
    expect(ranks.warnings.join(' ')).toContain('The data have no labels');
    expect(ranks.groups.map((g) => [g.id, g.estimator])).toEqual([
      ['one', 'own answers'],
      ['two', 'own answers'],
    ]);
    for (const g of ranks.groups) expect(Math.max(...g.units.map((u) => u.score))).toBeGreaterThan(0);
  });

  test('a group behind which an operator has no rule is left out, and the sentence names both', async () => {
    const params = write(true);
    const ranks = await run('rank', { ...params, method: 'taylor' });
    expect(ranks.complete).toBe(true);
    expect(ranks.groups.map((g) => g.id)).toEqual(['two']);
    expect(ranks.warnings.join(' ')).toMatch(/Group 'one' cannot be ranked by gradients.*Det.*left out/);
    const alone = await failure(run('rank', { ...params, method: 'fisher', groups: ['one'] }));
    expect(alone.code).toBe('unsupported');
    expect(alone.hint).toMatch(/Groups that can: 'two'.*leave-one-out/);
  });
});

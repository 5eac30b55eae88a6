/** Ranking by second moments as a job: consumers that have no say, and groups that nothing can be said about. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openGame } from '../../../src/evaluation/coalitions/index.ts';
import { openDataset } from '../../../src/evaluation/data/index.ts';
import { readOutput } from '../../../src/evaluation/metrics/index.ts';
import type { MethodName } from '../../../src/formats.ts';
import { loadModel } from '../../../src/graph/load.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { builder } from '../../support/build.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import { example, failure, run } from './jobs.ts';

const folder = temporaryFolder();
const data = { path: null, seed: 0, samples: 8 };
const device = 'cpu' as const;

/** Two groups: that of `first` is read by a grouped convolution and, when asked for, by a plain one too. */
function writeModel(name: string, both: boolean): string {
  const b = builder();
  const first = b.relu(b.conv(b.input('x', ['N', 2, 6, 6]), 2, 4, 1, { name: 'first' }));
  let second = b.conv(first, 4, 6, 3, { group: 2, name: 'grouped' });
  if (both) second = b.add(second, b.conv(first, 4, 6, 3, { name: 'plain' }));
  b.output(b.conv(b.relu(second), 6, 2, 1, { name: 'last' }));
  const path = join(folder, name);
  writeFileSync(path, b.bytes());
  return path;
}

test.each(['wanda', 'obs'] as const)('%s names the consumers that have no say', async (method) => {
  const ranks = await run('rank', { model: writeModel('both.onnx', true), data, method, seed: 0, device });
  expect(ranks.groups.map((g) => g.size)).toEqual([4, 6]);
  expect(ranks.warnings.filter((w) => w.includes("1 of its consumers ('grouped')"))).toHaveLength(1);
});

test.each(['wanda', 'obs'] as const)('%s leaves out a group that it can say nothing about', async (method) => {
  const model = writeModel('one.onnx', false);
  const ranks = await run('rank', { model, data, method, seed: 0, device });
  expect(ranks.complete).toBe(true);
  expect(ranks.groups.map((g) => g.size)).toEqual([6]);
  const told = ranks.warnings.filter((w) => w.includes('is a weighted sum'));
  expect(told).toHaveLength(1);
  expect(told[0]).toMatch(/'first'.*It is left out\.$/);

  const error = await failure(run('rank', { model, data, method, groups: ['first'], seed: 0, device }));
  expect(error.code).toBe('unsupported');
  expect(error.message).toContain("'first'");
});

test('obs that is cancelled says what it does not keep, and begins that group anew', async () => {
  const abort = new AbortController();
  const request = { model: writeModel('cancelled.onnx', true), data, method: 'obs', seed: 0, device } as const;
  const cut = await run('rank', request, {
    signal: abort.signal,
    progress: ({ note }) => {
      if (/group 2 of 2\): [1-9]\d* of/.test(note ?? '')) abort.abort();
    },
  });
  expect([cut.complete, cut.groups.map((g) => g.size)]).toEqual([false, [4]]);
  expect(cut.warnings.join(' ')).toMatch(/Group '\w+' was not finished, and obs keeps nothing of a part of it\./);
  const [rest, whole] = [await run('rank', { ...request, resume: cut }), await run('rank', request)];
  expect(rest.complete).toBe(true);
  expect(rest.groups.map((g) => g.units)).toEqual(whole.groups.map((g) => g.units));
});

test('of a quarter of the first layer of the example, obs keeps more than magnitude does, also without a refit', async () => {
  const folder = join(example, '../lenet5');
  const [path, heldout] = [join(folder, 'model.onnx'), join(folder, 'heldout.npz')];
  const model = loadModel(path);
  const dataset = await openDataset(model, { path: heldout, seed: 0 });
  const reading = await readOutput(model, dataset);
  const game = await openGame(analyseStructure(model), 'conv1', dataset, { metric: 'accuracy', reading, device });
  const calib = { path: join(folder, 'calib.npz'), seed: 0 };
  const best = async (method: MethodName): Promise<Uint8Array> => {
    const { groups } = await run('rank', { model: path, data: calib, method, groups: ['conv1'], seed: 0, device });
    const kept = [...groups[0].units].sort((a, b) => b.score - a.score).slice(0, 5);
    return Uint8Array.from({ length: groups[0].size }, (_, unit) => (kept.some((u) => u.index === unit) ? 1 : 0));
  };
  const [obs, magnitude] = await game.evaluate([await best('obs'), await best('magnitude')]);
  await game.close();
  expect(obs).toBeGreaterThan(magnitude);
  expect(obs).toBeGreaterThan(0.97);
});

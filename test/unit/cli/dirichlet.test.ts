/** The Dirichlet switch beside other rankings, and its options. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { PruneReport, Ranks, RanksByMethod } from '../../../src/formats.ts';
import { buildCommand, example, removeCommand, secateur, sentence } from './command.ts';

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'secateur-cli-'));
  await buildCommand();
});
afterAll(() => {
  removeCommand();
  rmSync(folder, { recursive: true, force: true });
});

const model = join(example, 'model.onnx');
const data = ['--data', join(example, 'calib.npz'), '--samples', '120'];
const group = ['--group', 'block3/conv1'];

test('it agrees with Shapley values, and a prune takes its ranks', async () => {
  const out = join(folder, 'both.ranks.json');
  const args = [...data, ...group, '--metric', 'kl', '--method', 'dirichlet,shapley', '--out', out, '--json'];
  const both = await secateur('rank', model, ...args);
  expect([both.code, sentence(both)]).toEqual([0, '']);
  const report = JSON.parse(both.stdout) as RanksByMethod;
  expect(JSON.parse(readFileSync(out, 'utf8'))).toEqual(report);
  const [dirichlet, shapley] = report.methods;
  expect([dirichlet.method, dirichlet.metric, shapley.metric]).toEqual(['dirichlet', 'kl', 'kl']);
  expect(dirichlet.groups[0].value!.empty).toBeCloseTo(shapley.groups[0].value!.empty, 5);
  expect(dirichlet.groups[0].units).toHaveLength(48);
  const [agreement] = report.agreement!;
  expect(agreement.methods).toEqual(['dirichlet', 'shapley']);
  expect(agreement.groups[0].noSignal).toBeUndefined();
  expect(agreement.groups[0].spearman).toBeGreaterThan(0.75);

  const small = join(folder, 'small.onnx');
  const pruned = await secateur(
    'prune',
    model,
    ...data,
    ...group,
    ...['--method', 'dirichlet', '--keep-units', '0.8', '--out', small, '--json'],
  );
  expect([pruned.code, sentence(pruned)]).toEqual([0, '']);
  expect((JSON.parse(pruned.stdout) as PruneReport).plan.from).toMatchObject({ method: 'dirichlet', metric: 'kl' });
});

test('form, scaling and prior are options', async () => {
  const options = ['--form', 'point', '--scaling', 'mean-one', '--prior', '0.5', '--budget', '6'];
  const made = await secateur('rank', model, ...data, ...group, '--method', 'dirichlet', ...options, '--json');
  expect([made.code, sentence(made)]).toEqual([0, '']);
  const [found] = (JSON.parse(made.stdout) as Ranks).groups;
  expect(found.switch).toMatchObject({ form: 'point', scaling: 'mean-one', prior: 0.5, gradient: 'point' });
  expect(found.evaluations).toBe(6);
  for (const wrong of [
    ['--scaling', 'twice'],
    ['--form', 'line'],
    ['--prior', '0'],
  ]) {
    const refused = await secateur('rank', model, ...data, ...group, '--method', 'dirichlet', ...wrong);
    expect(refused.code).toBe(2);
  }
});

/** The command `features` as scripts and people use it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Features } from '../../../src/formats.ts';
import { drawFeatureSet, featureSets } from '../../support/feature-sets.ts';
import { buildCommand, interrupted, removeCommand, root, secateur, sentence } from './command.ts';

const model = join(root, 'test/fixtures/features/xor.onnx');
let folder: string;
let csv: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'secateur-features-'));
  csv = join(folder, 'xor.csv');
  const { x, dataset } = drawFeatureSet(featureSets.xor, 300, 1);
  const header = [...Array.from({ length: 10 }, (_, i) => `f${i}`), 'label'].join();
  const rows = Array.from(dataset.labels!, (label, i) => [...x.subarray(i * 10, i * 10 + 10), label].join());
  writeFileSync(csv, [header, ...rows].join('\n'));
  await buildCommand();
});
afterAll(() => {
  removeCommand();
  rmSync(folder, { recursive: true, force: true });
});

test('one JSON object with the features of a table by their names', async () => {
  const outcome = await secateur('features', model, '--data', csv, '--steps', '60', '--seed', '2', '--json');
  expect(outcome.code).toBe(0);
  const report = JSON.parse(outcome.stdout) as Features;
  expect(report).toMatchObject({ format: 'secateur-features/1', mode: 'global', baseline: 'mean', seed: 2 });
  const [first, second] = [...report.features].sort((a, b) => b.importance - a.importance);
  expect([first.name, second.name].sort()).toEqual(['f0', 'f1']);
  expect(first.sd).toBeGreaterThan(0);
});

test('a table for people, and a file', async () => {
  const out = join(folder, 'xor.features.json');
  const args = ['--steps', '5', '--compare-labels', '0,1', '--select', '2', '--out', out];
  const { code, stdout } = await secateur('features', model, '--data', csv, ...args);
  expect(code).toBe(0);
  expect(stdout).toMatch(/Dirichlet importance \(Q-FIT\) of 10 columns of x, for \d+ samples/);
  expect(stdout).toMatch(/f0 +0\.\d+ +±0\.\d+ +█/);
  expect(stdout).toContain('(the mean over the data)');
  expect(stdout).toMatch(/compared +label 0 with label 1/);
  const report = JSON.parse(readFileSync(out, 'utf8')) as Features;
  expect(report.comparison!.other.name).toBe('label 1');
  expect(report.selected!.indices).toHaveLength(2);
});

test('wrong usage and bad input end with 2 and one sentence', async () => {
  const refused = async (...args: string[]): Promise<string> => {
    const outcome = await secateur('features', model, '--data', csv, ...args);
    expect(outcome.code).toBe(2);
    return sentence(outcome);
  };
  expect(await refused('--features-kind', 'patches')).toMatch(/no patches/);
  expect(await refused('--compare-labels', '3')).toMatch(/two different whole numbers/);
  expect(await refused('--metric', 'accuracy')).toMatch(/no loss/);
  expect(await refused('--holdout', csv)).toMatch(/leave --holdout out/);
  expect(await refused('--against', join(folder, 'none.onnx'))).toMatch(/no file/);
});

test('Ctrl-C ends it with 1, and what was computed is written', async () => {
  const out = join(folder, 'cut.features.json');
  const outcome = await interrupted(
    (stderr) => /: step [1-9]/.test(stderr),
    'features',
    model,
    '--data',
    csv,
    '--steps',
    '100000',
    '--out',
    out,
  );
  expect(outcome.code).toBe(1);
  const report = JSON.parse(readFileSync(out, 'utf8')) as Features;
  expect(report.complete).toBe(false);
  expect(report.steps).toBeGreaterThan(0);
});

/** The commands as scripts use them: one JSON object on stdout, files, exit codes. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CompareReport, InspectReport, Plan, PruneReport, Ranks, RanksByMethod } from '../../../src/formats.ts';
import { buildCommand, example, interrupted, removeCommand, secateur, secateurWith, sentence } from './command.ts';

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
const calib = ['--data', join(example, 'calib.npz')];
const heldout = ['--holdout', join(example, 'heldout.npz')];

/** Runs a command with --json and gives the object; stdout must be that one line. */
async function json<T>(...args: string[]): Promise<T> {
  const outcome = await secateur(...args, '--json');
  expect(outcome.stderr.includes('secateur: ') ? outcome.stderr : '').toBe('');
  expect(outcome.code).toBe(0);
  expect(outcome.stdout.trimEnd().split('\n')).toHaveLength(1);
  return JSON.parse(outcome.stdout) as T;
}

test('inspect', async () => {
  const report = await json<InspectReport>('inspect', model);
  expect(Object.keys(report)).toEqual(
    expect.arrayContaining(['model', 'totals', 'inputs', 'outputs', 'layers', 'groups', 'moe', 'exits']),
  );
  expect(report).not.toHaveProperty('costTerms');
  const text = await secateur('inspect', model);
  expect(text.stdout).toContain('85.4 k parameters, 1.86 M MACs, 29 nodes');
  expect(text.stdout).toMatch(/block1\/conv1 +channel +24/);
  expect(text.stderr).toBe('');
});

test('whole blocks go only when their group is named', async () => {
  const id = 'block1/add#blocks';
  const { groups } = await json<InspectReport>('inspect', model);
  expect(groups.at(-1)).toMatchObject({ id, kind: 'block', size: 2, prunable: true });
  const [small, shallow] = ['unasked.onnx', 'shallow.onnx'].map((name) => join(folder, name));
  const prune = ['prune', model, ...calib, '--samples', '60', '--method', 'random'];
  const plain = await json<PruneReport>(...prune, '--keep-macs', '0.6', '--out', small);
  expect(plain.plan.groups.map((g) => g.id)).not.toContain(id);
  expect(plain.warnings.join(' ')).not.toContain('blocks');
  // A pattern that names layers within blocks, or groups by the first letters of their ids, does not mean whole blocks.
  const some = await json<PruneReport>(...prune, '--group', 'block1*', '--keep-macs', '0.9', '--out', small);
  expect(some.plan.groups.find((g) => g.id === id)).toBeUndefined();
  const named = await json<PruneReport>(...prune, '--group', '*#blocks', '--keep-units', '0.9', '--out', shallow);
  expect(named.plan.groups.filter((g) => g.keep.length < named.groupSizes[g.id])).toMatchObject([{ id }]);
  expect(named.after.macs).toBeLessThan(named.before.macs);
  expect(
    sentence(
      await secateur(...prune.slice(0, -1), 'magnitude', '--group', '*#blocks', '--keep-macs', '0.9', '--out', small),
    ),
  ).toMatch(/whole blocks/);
});

test('rank by gradients', async () => {
  const rank = ['rank', model, ...calib, '--samples', '40'];
  const { methods, agreement } = await json<RanksByMethod>(...rank, '--method', 'taylor,obd');
  expect(methods.map((m) => [m.method, m.metric, m.complete, m.groups.length])).toEqual([
    ['taylor', null, true, 5],
    ['fisher', null, true, 5],
  ]);
  for (const { groups } of methods)
    for (const { units, size, evaluations } of groups) {
      expect([units.length, evaluations]).toEqual([size, 0]);
      expect(units.every(({ score, stderr }) => score >= 0 && stderr! >= 0)).toBe(true);
    }
  for (const { spearman } of agreement![0].groups) expect(spearman).toBeGreaterThan(0.5);
  const text = await secateur(...rank, '--method', 'fisher');
  expect(text.stdout).toContain('exact over 10 answers');
});

test('a method that cannot rank the model does not cost the ranks of the others', async () => {
  const out = join(folder, 'others.ranks.json');
  const rank = ['rank', model, ...calib, '--samples', '20', '--group', '*#blocks'];
  const some = await secateur(...rank, '--method', 'magnitude,activation', '--out', out, '--json');
  expect([some.code, sentence(some)]).toEqual([0, '']);
  expect(some.stderr).toMatch(/whole blocks.*The method magnitude is left out/);
  const { methods } = JSON.parse(readFileSync(out, 'utf8')) as RanksByMethod;
  expect(methods.map((m) => [m.method, m.complete])).toEqual([['activation', true]]);
  const none = await secateur(...rank, '--method', 'magnitude,magnitude-l2');
  expect([none.code, none.stdout]).toEqual([2, '']);
  expect(sentence(none)).toMatch(/whole blocks/);
});

test('methods that an earlier run did not come to are ranked beside those that it did', async () => {
  const out = join(folder, 'one.ranks.json');
  const rank = ['rank', model, ...calib, '--samples', '20', '--group', 'block3/conv1'];
  const one = await json<Ranks>(...rank, '--method', 'activation', '--out', out);
  const { methods } = await json<RanksByMethod>(...rank, '--method', 'activation,random', '--resume', out);
  expect(methods.map((m) => m.method)).toEqual(['activation', 'random']);
  expect(methods[0].groups).toEqual(one.groups);
  const other = await secateur(...rank, '--method', 'random', '--resume', out);
  expect([other.code, sentence(other)]).toEqual([2, expect.stringContaining('has no ranks by random')]);
});

test('rank by second moments', async () => {
  const rank = ['rank', model, ...calib, '--samples', '40', '--group', 'block3/conv*'];
  const { methods, agreement } = await json<RanksByMethod>(...rank, '--method', 'wanda,obs');
  expect(methods.map((m) => [m.method, m.metric, m.complete])).toEqual([
    ['wanda', null, true],
    ['obs', null, true],
  ]);
  for (const { groups } of methods)
    for (const { units, size } of groups) {
      expect(units).toHaveLength(size);
      expect(units.every(({ score }) => Number.isFinite(score) && score >= 0)).toBe(true);
    }
  for (const { spearman } of agreement![0].groups) expect(spearman).toBeGreaterThan(0);
});

test('rank, prune, replay, compare', async () => {
  const ranks = join(folder, 'model.ranks.json');
  const both = await json<RanksByMethod>(
    'rank',
    model,
    ...calib,
    '--method',
    'magnitude,random',
    '--seed',
    '5',
    '--group',
    'block*/conv1',
    '--out',
    ranks,
  );
  expect(both.methods.map((m) => m.method)).toEqual(['magnitude', 'random']);
  expect(both.methods[0].groups.map((g) => g.id)).toEqual(['block1/conv1', 'block2/conv1', 'block3/conv1']);
  expect(JSON.parse(readFileSync(ranks, 'utf8'))).toEqual(both);
  expect(
    sentence(
      await secateur('prune', model, '--ranks', ranks, ...calib, '--keep-macs', '0.8', '--out', join(folder, 'x.onnx')),
    ),
  ).toMatch(/several methods/);

  const [small, plan, report] = ['small.onnx', 'small.plan.json', 'small.report.json'].map((name) =>
    join(folder, name),
  );
  const pruned = await json<PruneReport>(
    'prune',
    model,
    '--ranks',
    ranks,
    '--method',
    'magnitude',
    ...calib,
    ...heldout,
    '--keep-macs',
    '80%',
    '--freeze',
    'block2*',
    '--round-to',
    '4',
    '--out',
    small,
    '--save-plan',
    plan,
    '--save-report',
    report,
  );
  expect(Object.keys(pruned)).toEqual(expect.arrayContaining(['before', 'after', 'equivalence', 'plan', 'output']));
  expect(JSON.parse(readFileSync(report, 'utf8'))).toEqual(pruned);
  expect(pruned.after.macs).toBeLessThanOrEqual(0.8 * pruned.before.macs);
  const kept = new Map(pruned.plan.groups.map((g) => [g.id, g]));
  expect(kept.get('block2/conv1')).toMatchObject({ frozen: true });
  expect(kept.get('block2/conv1')!.keep).toHaveLength(48);
  for (const g of pruned.plan.groups) expect(g.keep.length % 4).toBe(0);

  const again = join(folder, 'again.onnx');
  const text = await secateur('prune', model, '--plan', plan, ...calib, ...heldout, '--out', again);
  expect(text.code).toBe(0);
  expect(text.stdout).toMatch(/MACs +1\.86 M/);
  expect(text.stdout).toMatch(/Pruned = gated original/);
  expect(readFileSync(again).equals(readFileSync(small))).toBe(true);

  const compared = await json<CompareReport>('compare', model, small, '--data', join(example, 'heldout.npz'));
  expect(Object.keys(compared)).toEqual(expect.arrayContaining(['a', 'b', 'delta', 'changed', 'layers']));
  expect(compared.b.value).toBeCloseTo(pruned.after.holdout!, 10);
  expect(readdirSync(folder).filter((name) => name.startsWith('.'))).toEqual([]);
});

test('ranks and plans of another model are refused with exit code 2', async () => {
  const other = join(folder, 'other.ranks.json');
  const ranks = await json<Ranks>('rank', model, '--method', 'magnitude');
  writeFileSync(other, JSON.stringify({ ...ranks, model: { ...ranks.model, sha256: 'f'.repeat(64) } }));
  const byRanks = await secateur(
    'prune',
    model,
    '--ranks',
    other,
    ...calib,
    '--keep-macs',
    '0.8',
    '--out',
    join(folder, 'y.onnx'),
  );
  expect([byRanks.code, sentence(byRanks)]).toEqual([2, expect.stringMatching(/another model/)]);
  const plan: Partial<Plan> = {
    format: 'secateur-plan/1',
    model: { ...ranks.model, sha256: 'f'.repeat(64) },
    groups: [],
  };
  writeFileSync(other, JSON.stringify(plan));
  const byPlan = await secateur('prune', model, '--plan', other, ...calib, '--out', join(folder, 'y.onnx'));
  expect(byPlan.code).toBe(2);
  expect(existsSync(join(folder, 'y.onnx'))).toBe(false);
});

test('JSON is never written over a model or data', async () => {
  const data = join(folder, 'calib.npz');
  writeFileSync(data, readFileSync(join(example, 'calib.npz')));
  const outcome = await secateur('rank', model, '--data', data, '--method', 'magnitude', '--out', data);
  expect([outcome.code, sentence(outcome)]).toEqual([2, expect.stringMatching(/never overwritten/)]);
  expect(readFileSync(data).equals(readFileSync(join(example, 'calib.npz')))).toBe(true);
});

test('a broken model is one sentence and exit code 2', async () => {
  const broken = join(folder, 'broken.onnx');
  writeFileSync(broken, readFileSync(model).subarray(0, 100_000));
  const outcome = await secateur('inspect', broken, '--json');
  expect(outcome).toMatchObject({ code: 2, stdout: '' });
  expect(outcome.stderr.trim().split('\n')).toHaveLength(1);
});

test('an engine that crashes is one sentence and exit code 1', async () => {
  const engine = join(folder, 'crash.cjs');
  writeFileSync(engine, "process.on('message', () => process.kill(process.pid, 'SIGSEGV'));");
  const outcome = await secateurWith({ SECATEUR_ENGINE: engine }, 'inspect', model);
  expect(outcome.code).toBe(1);
  expect(sentence(outcome)).toMatch(/crashed \(SIGSEGV\)/);
  expect(outcome.stderr).not.toMatch(/\n\s+at /);
});

test('an interrupted ranking writes what it has and can be resumed', async () => {
  const out = join(folder, 'interrupted.ranks.json');
  const args = [
    'rank',
    model,
    ...calib,
    '--samples',
    '20',
    '--method',
    'shapley',
    '--metric',
    'cross-entropy',
    '--group',
    'block3/conv1',
    '--tolerance',
    '0',
  ];
  const outcome = await interrupted(
    (stderr) => /[1-9]\d* % ranking|: [1-9]\d{3,} of/.test(stderr),
    ...args,
    '--budget',
    '2000000',
    '--out',
    out,
  );
  expect(outcome.code).toBe(1);
  expect(sentence(outcome)).toMatch(/was cancelled\. What was computed is in .*--resume/);
  const ranks = JSON.parse(readFileSync(out, 'utf8')) as Ranks;
  expect(ranks.complete).toBe(false);
  const { evaluations } = ranks.groups[0];
  const resumed = await json<Ranks>(...args, '--budget', String(evaluations + 300), '--resume', out, '--out', out);
  expect(resumed.complete).toBe(true);
  expect(resumed.groups[0].evaluations).toBeGreaterThan(evaluations);
});

test('an interrupted export leaves nothing', async () => {
  const target = join(folder, 'export');
  const { mkdirSync } = await import('node:fs');
  mkdirSync(target);
  const outcome = await interrupted(
    (stderr) => /cut \d+/.test(stderr),
    'prune',
    model,
    ...calib,
    '--method',
    'random',
    '--max-drop',
    '0.01',
    '--out',
    join(target, 'small.onnx'),
  );
  // On a fast machine the search may be over before a line of progress is printed.
  if (outcome.code !== 0) {
    expect(outcome.code).toBe(1);
    expect(readdirSync(target)).toEqual([]);
  }
});

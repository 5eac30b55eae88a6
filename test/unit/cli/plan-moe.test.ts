import { afterAll, beforeAll, expect, test } from 'vitest';
import type { MoePlan } from '../../../src/formats.ts';
import { buildCommand, removeCommand, secateur, sentence } from './command.ts';

beforeAll(buildCommand);
afterAll(removeCommand);

const plan = ['plan-moe', '--compute', '1e22', '--memory', '80GB'];

test('plan-moe --json is one object with a best model for each law', async () => {
  const { code, stdout, stderr } = await secateur(...plan, '--json');
  expect([code, stderr]).toEqual([0, '']);
  expect(stdout.trimEnd().split('\n')).toHaveLength(1);
  const { format, budget, laws, warnings } = JSON.parse(stdout) as MoePlan;
  expect(format).toBe('secateur-moe-plan/1');
  expect(budget).toMatchObject({ compute: 1e22, memory: 80e9, context: 16384, bytesPerNumber: 2, vocabulary: 50257 });
  expect(laws.map(({ law, candidates, best }) => [law, candidates[best!].experts])).toEqual([
    ['joint', 16],
    ['fine-grained', 2048],
  ]);
  expect(warnings).toHaveLength(2);
});

test('plan-moe for people: a table for each law, warnings on stderr', async () => {
  const { code, stdout, stderr } = await secateur(...plan);
  expect(code).toBe(0);
  expect(stdout).toMatch(
    /→ +16 +\*3\.46 G +\*36\.8 G +\*482 G +\*139 +2509×39 +80\.0 GB .* 2\.113 +as large as the memory/,
  );
  expect(stdout).toMatch(/→ +\*32 +2048 /);
  expect(stdout).toMatch(/dense +1 /);
  expect(stderr).toMatch(/^Note: The best model of the joint law lies outside/);
});

test('options reach the laws', async () => {
  const options = ['--experts', '8,2', '--granularity', '4', '--expansion', '16', '--vocabulary', '1000'];
  const more = ['--context', '0', '--bytes-per-number', '1', '--inference-tokens', '1e10'];
  const ratio = ['--max-tokens-per-parameter', '300'];
  const { stdout } = await secateur(...plan, ...options, ...more, ...ratio, '--json');
  const { budget, laws } = JSON.parse(stdout) as MoePlan;
  expect(budget).toMatchObject({ vocabulary: 1000, context: 0, bytesPerNumber: 1, inferenceTokens: 1e10 });
  expect(budget.maxTokensPerParameter).toBe(300);
  expect(laws.map(({ candidates }) => candidates.map(({ experts }) => experts))).toEqual([
    [2, 8],
    [1, 64],
  ]);
  expect((await secateur('plan-moe', '--help')).stdout).toContain('$ secateur plan-moe');
});

test.each<[string, string[], RegExp]>([
  ['no compute', ['plan-moe'], /required option '--compute/],
  ['no number', ['plan-moe', '--compute', 'much'], /--compute.*number above 0/],
  ['no size', [...plan, '--memory', '80 apples'], /--memory.*size such as 24GB/],
  ['no list', [...plan, '--experts', '1,x'], /--experts.*whole number of at least 1/],
  ['an expansion without coefficients', [...plan, '--expansion', '8'], /--expansion.*Allowed choices are 16, 64/],
  ['a budget that nothing meets', [...plan, '--memory', '1kB'], /No model meets this budget.*Allow more/],
])('%s is bad usage: exit code 2 and one sentence', async (_, args, message) => {
  const outcome = await secateur(...args);
  expect([outcome.code, outcome.stdout]).toEqual([2, '']);
  expect(sentence(outcome)).toMatch(message);
  expect(outcome.stderr.trim().split('\n')).toHaveLength(1);
});

import { expect, it } from 'vitest';
import { examine, listNodes, shrink, type Verdict } from '../../support/random-check.ts';
import { randomGraph } from '../../support/random-graph.ts';

/*
 * Random graphs, made from a table of templates with one entry or more for every op that has a rule, keep the invariant.
 * SECATEUR_RANDOM=n checks n more seeds, from SECATEUR_RANDOM_FROM on; SECATEUR_SHRINK=1 makes failing graphs smaller.
 */
const FIXED = 200;
const more = Number(process.env.SECATEUR_RANDOM ?? 0);
const from = Number(process.env.SECATEUR_RANDOM_FROM ?? 1000);
const smaller = process.env.SECATEUR_SHRINK === '1';

async function failure(seed: number, verdicts: Verdict[]): Promise<string | undefined> {
  const { model } = randomGraph(seed);
  const verdict = await examine(model, seed);
  verdicts.push(verdict);
  const what = verdict.problem ?? verdict.useless;
  if (what === undefined) return undefined;
  const shown = smaller && verdict.problem ? await shrink(model, seed) : model;
  return `seed ${seed}: ${what}\n${listNodes(shown)}`;
}

function range(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

it('random graphs: pruned = gated, costs are predicted, the pruned model is understood again', async () => {
  const verdicts: Verdict[] = [];
  const failures: string[] = [];
  for (const seed of [...range(0, FIXED), ...range(from, more)]) {
    const text = await failure(seed, verdicts);
    if (text) failures.push(text);
    if (text && more) console.log(text);
  }
  const sum = (count: (v: Verdict) => number) => verdicts.reduce((n, v) => n + count(v), 0);
  const [groups, prunable] = [sum((v) => v.groups), sum((v) => v.prunable)];
  if (more)
    console.log(`${verdicts.length} graphs, ${prunable} of ${groups} groups prunable, ${failures.length} failures`);
  expect(failures.join('\n\n')).toBe('');
  expect(groups).toBeGreaterThan(3 * FIXED);
  expect(prunable).toBeGreaterThan(groups / 2);
}, 6_000_000);

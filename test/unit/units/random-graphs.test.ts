import { expect, it } from 'vitest';
import { examine, listNodes, shrink, type Verdict } from '../../support/random-check.ts';
import { randomGraph } from '../../support/random-graph.ts';
import { builder, type Builder } from '../../support/build.ts';

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
  expect(groups).toBeGreaterThan(2 * FIXED);
  expect(prunable).toBeGreaterThan(groups / 2);
}, 6_000_000);

/** What random graphs have found, made small. */
it.each([
  [
    'all products of two units, flattened',
    (b: Builder) => {
      const x = b.conv(b.input('x', [1, 4, 6]), 4, 5, [1]);
      return b.linear(b.flatten(b.op('MatMul', [x, b.transpose(x, [0, 2, 1])])), 25, 3);
    },
  ],
  [
    'LogSoftmax over all axes, then sums',
    (b: Builder) => {
      const x = b.conv(b.input('x', [1, 3, 8, 8]), 3, 4, [1, 1]);
      const y = b.op('AveragePool', [b.op('LogSoftmax', [x], { axis: 0 })], { kernel_shape: [2, 2] });
      return b.linear(b.flatten(y), 4 * 49, 3);
    },
  ],
  [
    'a convolution whose samples are units',
    (b: Builder) => {
      const x = b.transpose(b.linear(b.input('x', [8, 6, 5]), 5, 4), [2, 1, 0]);
      return b.linear(b.transpose(b.conv(x, 6, 6, [3]), [1, 2, 0]), 4, 3);
    },
  ],
])('%s', async (_, make) => {
  const b = builder({ seed: 3, opset: 11 });
  b.output(make(b));
  const { problem, useless, prunable } = await examine(b.build(), 5);
  expect([problem, useless]).toEqual([undefined, undefined]);
  expect(prunable).toBeGreaterThan(0);
});

/**
 * Estimators of Shapley values against enumeration, on a real game: units of one group of the example model, the group's
 * others open. `npm run bench estimators [MODEL DATA GROUP [UNITS]]` prints the relative squared error
 * Σ(φ̂ − φ)² / Σφ² by evaluations per unit (mean over seeds) and, for the example, draws docs/images/estimators.svg.
 */
import { writeFileSync } from 'node:fs';
import { openGame } from '../src/evaluation/coalitions/index.ts';
import { openDataset } from '../src/evaluation/data/index.ts';
import { metricsFor, readOutput } from '../src/evaluation/metrics/index.ts';
import type { CoalitionGame } from '../src/evaluation/types.ts';
import type { ShapleyEstimator } from '../src/formats.ts';
import { loadModel } from '../src/graph/load.ts';
import { spearman } from '../src/math/correlation.ts';
import { estimators } from '../src/ranking/shapley/estimators.ts';
import { shapleyFromTable } from '../src/ranking/shapley/exact.ts';
import { analyseStructure } from '../src/units/analyse.ts';
import type { Group } from '../src/units/types.ts';
import { lineChart } from './line-chart.ts';

const EXAMPLE = ['examples/digits/model.onnx', 'examples/digits/calib.npz', 'stem/conv'];
const SAMPLES = 256;
const UNITS = 14;
const SEEDS = 20;
/** Evaluations per unit. */
const BUDGETS = [4, 6, 8, 10, 15, 20, 30, 40, 60, 100];
const SAMPLED: ShapleyEstimator[] = ['permutation', 'antithetic', 'kernel', 'leverage'];
const PARTIAL: ShapleyEstimator[] = ['removal', 'addition'];

/** All coalitions of the first units of the group, the others open: values by bit mask. */
async function enumerate(
  path: string,
  data: string,
  id: string,
  units: number,
): Promise<{ group: Group; table: Float64Array; metric: CoalitionGame['metric'] }> {
  const model = loadModel(path);
  const dataset = await openDataset(model, { path: data, samples: SAMPLES, seed: 0 });
  const structure = analyseStructure(model);
  const group = structure.groups.find((g) => g.id === id);
  if (!group) throw new Error(`${path} has no group ${id}.`);
  const reading = await readOutput(model, dataset);
  const possible = metricsFor(dataset, reading);
  const metric = possible.includes('cross-entropy') ? 'cross-entropy' : possible[0];
  const game = await openGame(structure, id, dataset, { metric, reading, device: 'cpu' });
  const players = Math.min(units, game.players);
  const table = new Float64Array(2 ** players);
  const step = Math.max(1, game.preferredBatch);
  for (let from = 0; from < table.length; from += step) {
    const coalitions = Array.from({ length: Math.min(step, table.length - from) }, (_, i) =>
      Uint8Array.from({ length: game.players }, (_, unit) => (unit < players ? ((from + i) >> unit) & 1 : 1)),
    );
    table.set(await game.evaluate(coalitions), from);
  }
  await game.close();
  return { group: { ...group, size: players }, table, metric };
}

const args = process.argv.slice(2);
const [path, data, id] = args.length >= 3 ? args : EXAMPLE;
const { group, table, metric } = await enumerate(path, data, id, Number(args[3] ?? UNITS));
const n = group.size;
const exact = shapleyFromTable(table, n).scores;
const norm = exact.reduce((sum, x) => sum + x * x, 0);
const game: CoalitionGame = {
  group: group.id,
  players: n,
  samples: SAMPLES,
  metric,
  preferredBatch: 64,
  evaluate: (coalitions) =>
    Promise.resolve(
      Float64Array.from(coalitions, (c) => table[c.reduce((mask, bit, unit) => mask | (bit << unit), 0)]),
    ),
};

async function scores(name: ShapleyEstimator, budget: number, seed: number): Promise<Float64Array> {
  const { ranks } = await estimators[name].run({ group, game }, game, { seed, budget, tolerance: 0 });
  return Float64Array.from(ranks.units, (u) => u.score);
}

console.log(
  `\n${path}, ${group.id}, ${n} units, ${metric}, ${SAMPLES} samples: relative squared error, mean of ${SEEDS} seeds`,
);
console.log(`${'per unit'.padEnd(10)}${SAMPLED.map((name) => name.padStart(14)).join('')}`);
const curves = SAMPLED.map((name) => ({ name, points: [] as [number, number][] }));
for (const perUnit of BUDGETS) {
  const cells: string[] = [];
  for (const curve of curves) {
    let sum = 0;
    for (let seed = 0; seed < SEEDS; seed++) {
      const found = await scores(curve.name as ShapleyEstimator, perUnit * n, seed);
      sum += found.reduce((total, x, i) => total + (x - exact[i]) ** 2, 0) / norm;
    }
    curve.points.push([perUnit, sum / SEEDS]);
    cells.push((sum / SEEDS).toExponential(2).padStart(14));
  }
  console.log(`${String(perUnit).padEnd(10)}${cells.join('')}`);
}
console.log('\nPartial values, by rank only: Spearman correlation with the exact values');
for (const perUnit of BUDGETS) {
  const cells: string[] = [];
  for (const name of PARTIAL) cells.push(`${name} ${spearman(await scores(name, perUnit * n, 0), exact).toFixed(3)}`);
  console.log(`${String(perUnit).padEnd(10)}${cells.join('   ')}`);
}
if (path === EXAMPLE[0] && args.length < 4) {
  writeFileSync(
    'docs/images/estimators.svg',
    lineChart(curves, {
      title: `Shapley estimators on ${n} units of ${group.id} (digits example, ${metric})`,
      x: 'evaluations per unit',
      y: 'relative squared error',
    }),
  );
  console.log('\nWrote docs/images/estimators.svg.');
}

/**
 * The coalition evaluator against the naive one (the whole gated model, one coalition per run, same runtime), group by
 * group, in the same run and in turns: `npm run bench evaluator [MODEL DATA]…`. Without arguments: the examples, and a
 * ResNet-18 with random weights on synthetic images. Exits with 1 when a requirement of the
 * design is missed: never slower; at least 3 times faster where the suffix has under 25 % of the MACs; at least 40
 * times where the gates fold and the suffix has under 5 %.
 */
import { openGame, type OpenGame } from '../src/evaluation/coalitions/index.ts';
import { openDataset } from '../src/evaluation/data/index.ts';
import { metricsFor, readOutput } from '../src/evaluation/metrics/index.ts';
import type { Model } from '../src/graph/ir.ts';
import { loadModel } from '../src/graph/load.ts';
import { Rng } from '../src/math/random.ts';
import { analyseStructure } from '../src/units/analyse.ts';
import { resnet18 } from './resnet18.ts';

const EXAMPLES = [
  ['examples/digits/model.onnx', 'examples/digits/calib.npz'],
  ['examples/lenet5/model.onnx', 'examples/lenet5/calib.npz'],
];
const SAMPLES = 256;
const ROUNDS = 5;
/** Seconds that one side measures in a round, about. */
const SLICE = 0.25;

interface Row {
  group: string;
  units: number;
  share: number;
  strategy: string;
  folded: boolean;
  prefix: number;
  ours: number;
  naive: number;
  required: number;
}

const now = () => performance.now() / 1000;
/** The least disturbed of the turns: others use the machine too. */
const best = (values: number[]) => Math.min(...values.filter((t) => !Number.isNaN(t)));

/** Coalitions that never repeat, so that no value is remembered. */
function coalitionMaker(size: number, seed: number): (count: number) => Uint8Array[] {
  const rng = Rng.from(seed);
  const seen = new Set<string>();
  return (count) => {
    const made: Uint8Array[] = [];
    for (let tries = 0; made.length < count && tries < 50 * count; tries++) {
      const c = Uint8Array.from({ length: size }, () => rng.int(2));
      const key = c.join('');
      if (seen.has(key)) continue;
      seen.add(key);
      made.push(c);
    }
    return made;
  };
}

/** Seconds per coalition of one slice of time. */
async function slice(
  game: OpenGame,
  make: (count: number) => Uint8Array[],
  atOnce: number,
  seconds: number,
): Promise<number> {
  let count = 0;
  const start = now();
  do {
    const coalitions = make(atOnce);
    if (coalitions.length === 0) break;
    await game.evaluate(coalitions);
    count += coalitions.length;
  } while (now() - start < seconds);
  return count ? (now() - start) / count : NaN;
}

interface Effort {
  samples: number;
  rounds: number;
  /** Coalitions at once, at most. */
  atOnce: number;
}
const SMALL: Effort = { samples: SAMPLES, rounds: ROUNDS, atOnce: Infinity };
const LARGE: Effort = { samples: 8, rounds: 2, atOnce: 16 };

async function benchModel(path: string, model: Model, data: string | null, effort: Effort): Promise<Row[]> {
  const dataset = await openDataset(model, { path: data, samples: effort.samples, seed: 0 });
  const structure = analyseStructure(model);
  const reading = await readOutput(model, dataset);
  const metric = metricsFor(dataset, reading).find((m) => m === 'cross-entropy') ?? metricsFor(dataset, reading)[0];
  const options = { metric, reading, device: 'cpu' } as const;
  const rows: Row[] = [];
  console.log(`\n${path}: ${dataset.samples} samples, ${metric}`);
  console.log(
    'group                units  suffix  strategy  rows    prefix s  ours s/1000  naive s/1000    ratio  required',
  );
  for (const group of structure.groups.filter((g) => g.prunable && g.kind !== 'block')) {
    const fast = await openGame(structure, group.id, dataset, options);
    const naive = await openGame(structure, group.id, dataset, { ...options, strategy: 'naive' });
    const make = coalitionMaker(group.size, 1);
    const makeNaive = coalitionMaker(group.size, 1);
    const first = now();
    await fast.evaluate(make(1));
    const setup = now() - first;
    await naive.evaluate(makeNaive(1));
    const atOnce = Math.min(fast.preferredBatch, effort.atOnce);
    await fast.evaluate(make(Math.min(atOnce, 2 ** group.size / 4)));
    const times: { ours: number[]; naive: number[] } = { ours: [], naive: [] };
    for (let round = 0; round < effort.rounds; round++) {
      const turns = [
        async () => times.ours.push(await slice(fast, make, atOnce, SLICE)),
        async () => times.naive.push(await slice(naive, makeNaive, 1, SLICE)),
      ];
      for (const turn of round % 2 ? turns.reverse() : turns) await turn();
    }
    const steady = best(times.ours);
    const row: Row = {
      group: group.id,
      units: group.size,
      share: fast.info.suffixShare,
      strategy: fast.info.strategy,
      folded: fast.info.folded,
      prefix: Math.max(0, setup - steady),
      ours: 1000 * steady,
      naive: 1000 * best(times.naive),
      required: fast.info.folded && fast.info.suffixShare < 0.05 ? 40 : fast.info.suffixShare < 0.25 ? 3 : 1,
    };
    rows.push(row);
    console.log(line(row, String(fast.info.rows)));
    for (const note of fast.info.notes) console.log(`    ${note}`);
    await fast.close();
    await naive.close();
  }
  return rows;
}

/** The prefix is part of what 1000 coalitions cost. */
const total = (r: Row) => r.ours + r.prefix;
const ratio = (r: Row) => r.naive / total(r);

function line(r: Row, rows: string): string {
  return [
    r.group.padEnd(20),
    String(r.units).padStart(5),
    `${(100 * r.share).toFixed(1)} %`.padStart(8),
    `  ${r.strategy.padEnd(8)}`,
    rows.padStart(6),
    r.prefix.toFixed(3).padStart(9),
    total(r).toFixed(3).padStart(12),
    r.naive.toFixed(2).padStart(13),
    ratio(r).toFixed(1).padStart(9),
    `≥ ${r.required}`.padStart(8),
    ratio(r) < r.required ? '  MISSED' : '',
  ].join(' ');
}

const given = process.argv.slice(2).filter((a) => !a.startsWith('-'));
const models = given.length ? given.flatMap((m, i) => (i % 2 ? [] : [[m, given[i + 1]]])) : EXAMPLES;
const all: Row[] = [];
for (const [path, data] of models) all.push(...(await benchModel(path, loadModel(path), data, SMALL)));
if (!given.length) all.push(...(await benchModel('ResNet-18 at 224 × 224', resnet18(), null, LARGE)));
const ours = all.reduce((sum, r) => sum + total(r), 0);
const naive = all.reduce((sum, r) => sum + r.naive, 0);
const missed = all.filter((r) => ratio(r) < r.required);
console.log(
  `\ntotal of ${all.length} groups, seconds per 1000 coalitions each: ours ${ours.toFixed(2)}, naive ${naive.toFixed(2)}, ratio ${(naive / ours).toFixed(1)}`,
);
console.log(missed.length ? `requirements missed: ${missed.map((r) => r.group).join(', ')}` : 'all requirements met');
process.exitCode = missed.length ? 1 : 0;

import ort from 'onnxruntime-node';
import { pruneModel } from '../../src/pruning/surgery.ts';
import { serializeModel } from '../../src/graph/save.ts';
import type { Model } from '../../src/graph/ir.ts';
import { gateModel, gateRow } from '../../src/units/gating.ts';
import type { Group, KeepSets, Structure } from '../../src/units/types.ts';

/** A small seeded generator for tests (mulberry32). */
export function seeded(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export async function openSession(model: Model, optimise = true): Promise<ort.InferenceSession> {
  return ort.InferenceSession.create(serializeModel(model), {
    graphOptimizationLevel: optimise ? 'all' : 'disabled',
    logSeverityLevel: 4,
    intraOpNumThreads: 1,
  });
}

type Outputs = Record<string, ort.Tensor>;

/** A random keep-set of about `share` of the units, at least one, block constraints and parts respected. */
export function randomKeep(group: Group, share: number, random: () => number): number[] {
  const blocks = group.blocks ?? [Array.from({ length: group.size }, (_, i) => i)];
  let count = Math.max(1, Math.round(blocks[0].length * share));
  for (let tries = 1; ; tries++) {
    const keep = blocks.flatMap((block) => {
      const pool = [...block];
      return Array.from({ length: count }, () => pool.splice(Math.floor(random() * pool.length), 1)[0]);
    });
    if (!group.parts?.some((part) => !part.some((unit) => keep.includes(unit)))) return keep.sort((a, b) => a - b);
    if (tries % 20 === 0) count++;
  }
}

/** Seeded inputs for a model; symbolic dims get 2 (batch) or 8. */
export function randomFeeds(
  model: Model,
  random: () => number,
  dims: Record<string, number> = {},
): Record<string, ort.Tensor> {
  const feeds: Record<string, ort.Tensor> = {};
  for (const input of model.graph.inputs) {
    if (input.initializer) continue;
    const shape = (input.type?.shape ?? []).map((d, i) =>
      typeof d === 'number' && d > 0 ? d : (dims[String(d)] ?? (i === 0 ? 2 : 8)),
    );
    const size = shape.reduce((a, b) => a * b, 1);
    const type = input.type?.elemType;
    const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    if (type === 7)
      feeds[input.name] = new ort.Tensor(
        'int64',
        BigInt64Array.from({ length: size }, () => BigInt(Math.floor(random() * 4))),
        shape,
      );
    else if (type === 6)
      feeds[input.name] = new ort.Tensor(
        'int32',
        Int32Array.from({ length: size }, () => Math.floor(random() * 4)),
        shape,
      );
    else if (type === 9)
      feeds[input.name] = new ort.Tensor(
        'bool',
        Uint8Array.from({ length: size }, () => (random() < 0.5 ? 1 : 0)),
        shape,
      );
    else if (type === 10)
      feeds[input.name] = new ort.Tensor(
        'float16',
        Uint16Array.from({ length: size }, () => halfBits(normal())),
        shape,
      );
    else if (type === 2)
      feeds[input.name] = new ort.Tensor(
        'uint8',
        Uint8Array.from({ length: size }, () => Math.floor(random() * 256)),
        shape,
      );
    else feeds[input.name] = new ort.Tensor('float32', Float32Array.from({ length: size }, normal), shape);
  }
  return feeds;
}

/** Bits of the half-precision number nearest below |x| with the sign of x; test inputs need no exact rounding. */
export function halfBits(x: number): number {
  const magnitude = Math.min(Math.abs(x), 60000);
  if (magnitude < 2 ** -14) return 0;
  const exponent = Math.floor(Math.log2(magnitude));
  const fraction = Math.floor((magnitude / 2 ** exponent - 1) * 1024);
  return (x < 0 ? 0x8000 : 0) | ((exponent + 15) << 10) | fraction;
}

/** max|a−b| / max|b| per output, worst output. */
export function maxRelDiff(a: Outputs, b: Outputs): number {
  let worst = 0;
  for (const name of Object.keys(b)) {
    const [x, y] = [a[name], b[name]];
    if (!x || x.dims.join() !== y.dims.join()) return Infinity;
    let diff = 0;
    let scale = 0;
    const [dx, dy] = [x.data as ArrayLike<number | bigint>, y.data as ArrayLike<number | bigint>];
    for (let i = 0; i < dy.length; i++) {
      const [p, q] = [Number(dx[i]), Number(dy[i])];
      if (Number.isNaN(p) !== Number.isNaN(q)) return Infinity;
      if (Number.isNaN(q) || p === q) continue;
      diff = Math.max(diff, Math.abs(p - q));
      scale = Math.max(scale, Math.abs(q));
    }
    worst = Math.max(worst, diff === 0 ? 0 : diff / (scale || 1));
  }
  return worst;
}

export interface InvariantResult {
  group: string;
  kept: number;
  size: number;
  diff: number;
  /**
   * Where the difference is above the tolerance, and that was asked for: how far the gated model's outputs move when its
   * inputs move by 1e-6. Outputs that cancel out are rounding errors alone.
   */
  sensitivity?: number;
}

/**
 * The acceptance test of everything: for each prunable group and each share, and once for all groups together, the
 * pruned model's outputs against the gated model's, both run by onnxruntime on the same random inputs.
 * @returns worst relative differences, and the tolerance max(1e-5, 10 × noise of the original between optimisations on and off)
 */
export async function checkInvariant(
  structure: Structure,
  options: {
    shares?: number[];
    seed?: number;
    dims?: Record<string, number>;
    groups?: (g: Group) => boolean;
    optimise?: boolean;
    /** Inputs, instead of random ones. */
    feeds?: Record<string, ort.Tensor>;
    /** At most so many groups alone, chosen by the seed; all of them still go together. */
    most?: number;
    /** How often all groups are pruned together. */
    together?: number;
    /** Measures the sensitivity where a difference is found. */
    sensitivity?: boolean;
  } = {},
): Promise<{ results: InvariantResult[]; tolerance: number }> {
  const random = seeded(options.seed ?? 1);
  const optimise = options.optimise ?? true;
  const feeds = options.feeds ?? randomFeeds(structure.model, random, options.dims);
  const [plain, fused] = [await openSession(structure.model, false), await openSession(structure.model, true)];
  const noise = maxRelDiff(await plain.run(feeds), await fused.run(feeds));
  await plain.release();
  await fused.release();
  const tolerance = Math.max(1e-5, 10 * noise);
  const groups = structure.groups.filter((g) => g.prunable && (options.groups?.(g) ?? true));
  if (groups.length === 0) return { results: [], tolerance: 1e-5 };
  const gated = gateModel(
    structure,
    groups.map((g) => g.id),
  );
  const reference = await openSession(gated.model, optimise);
  const results: InvariantResult[] = [];
  const check = async (name: string, keep: KeepSets, kept: number, size: number) => {
    const gates = Object.fromEntries(
      gated.gates.map((g) => [
        g.input.name,
        new ort.Tensor('float32', gateRow(g.size, keep.get(g.group)), [1, g.size]),
      ]),
    );
    const expected = await reference.run({ ...feeds, ...gates });
    const session = await openSession(pruneModel(structure, keep).model, optimise);
    const result: InvariantResult = { group: name, kept, size, diff: maxRelDiff(await session.run(feeds), expected) };
    if (options.sensitivity && !(result.diff <= tolerance))
      result.sensitivity = maxRelDiff(await reference.run({ ...moved(feeds, seeded(1)), ...gates }), expected);
    results.push(result);
    await session.release();
  };
  for (const group of pick(groups, options.most ?? groups.length, random)) {
    for (const share of options.shares ?? [0.5]) {
      const keep = randomKeep(group, share, random);
      await check(group.id, new Map([[group.id, keep]]), keep.length, group.size);
    }
  }
  for (let i = 0; i < (options.together ?? 1); i++)
    await check('all groups', new Map(groups.map((g) => [g.id, randomKeep(g, 0.6, random)])), 0, 0);
  await reference.release();
  return { results, tolerance };
}

/** Float inputs, each number moved by about 1e-6 of itself. */
export function moved(feeds: Record<string, ort.Tensor>, random: () => number): Record<string, ort.Tensor> {
  const entries = Object.entries(feeds).map(([name, t]): [string, ort.Tensor] => {
    if (t.type !== 'float32') return [name, t];
    const data = Float32Array.from(t.data as Float32Array, (x) => x * (1 + 1e-6 * (random() < 0.5 ? 1 : -1)));
    return [name, new ort.Tensor('float32', data, t.dims)];
  });
  return Object.fromEntries(entries);
}

/** `count` of the items, in their order; consumes randomness only when there is a choice. */
function pick<T>(items: readonly T[], count: number, random: () => number): T[] {
  if (count >= items.length) return [...items];
  const pool = items.map((_, i) => i);
  const chosen = Array.from({ length: count }, () => pool.splice(Math.floor(random() * pool.length), 1)[0]);
  return chosen.sort((a, b) => a - b).map((i) => items[i]);
}

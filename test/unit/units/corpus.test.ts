import { existsSync, readdirSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadModel } from '../../../src/graph/load.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import type { Structure } from '../../../src/units/types.ts';
import { checkInvariant, openSession, randomFeeds, seeded } from '../../support/invariant.ts';

const corpus = process.env.SECATEUR_CORPUS;
const LARGEST = 8 << 20;

function* models(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* models(path);
    else if (entry.name.endsWith('.onnx') && (statSync(path, { throwIfNoEntry: false })?.size ?? Infinity) < LARGEST)
      yield path;
  }
}

/** The structure of a model that has units to prune and that the runtime runs as it is. */
async function runnable(path: string): Promise<Structure | undefined> {
  let s: Structure;
  try {
    s = analyseStructure(loadModel(path));
  } catch {
    return undefined;
  }
  if (!s.groups.some((g) => g.prunable)) return undefined;
  try {
    const session = await openSession(s.model, false);
    await session.run(randomFeeds(s.model, seeded(3)));
    await session.release();
    return s;
  } catch {
    return undefined;
  }
}

describe.skipIf(!corpus || !existsSync(corpus))('every small model of the corpus', () => {
  it('is pruned as it is gated', { timeout: 300_000 }, async () => {
    const checked: string[] = [];
    const wrong: string[] = [];
    for (const path of models(corpus!)) {
      const s = await runnable(path);
      if (!s) continue;
      const ops = new Set(s.model.graph.nodes.map((n) => n.opType));
      const quantised = [...ops].some((op) => /Quantize|QLinear|Integer|QGemm/.test(op));
      const half = [...s.model.graph.values.values()].some((v) => v.initializer?.dataType === 10);
      const { results, tolerance } = await checkInvariant(s, {
        shares: [0.5],
        seed: 3,
        optimise: !quantised,
        most: 12,
      });
      const name = relative(corpus!, path);
      checked.push(name);
      for (const r of results)
        if (!(r.diff <= (half ? 2e-2 : tolerance))) wrong.push(`${name}: ${r.group} differs by ${r.diff}`);
    }
    expect(wrong).toEqual([]);
    expect(checked.length).toBeGreaterThan(20);
  });
});

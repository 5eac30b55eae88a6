import ort from 'onnxruntime-node';
import { expect } from 'vitest';
import type { Dim, Model, Value } from '../../src/graph/ir.ts';
import { analyseStructure } from '../../src/units/analyse.ts';
import { freeBatch } from '../../src/units/batch-axis.ts';
import { gateModel, gateRow } from '../../src/units/gating.ts';
import type { Structure } from '../../src/units/types.ts';
import { Builder } from './build.ts';
import { checkInvariant, maxRelDiff, openSession, randomFeeds, seeded } from './invariant.ts';

/** A quarter, half, and one of the units. */
export const SHARES = [0.25, 0.5, 0.01];

/** The structure of a model whose groups were held each against the gated model, which with open gates is the model itself. */
export async function verify(
  model: Model,
  options: { tolerance?: number; optimise?: boolean } = {},
): Promise<Structure> {
  const s = analyseStructure(model);
  expect(s.warnings).toEqual([]);
  const { optimise = true } = options;
  const { results, tolerance } = await checkInvariant(s, { shares: SHARES, seed: 5, optimise });
  for (const r of results)
    expect(r.diff, `${r.group} keeping ${r.kept} of ${r.size}`).toBeLessThanOrEqual(options.tolerance ?? tolerance);
  expect(await openDifference(s, optimise), 'with open gates').toBeLessThanOrEqual(options.tolerance ?? 3e-6);
  expect(carriesSamples(s), 'the gated model takes samples side by side').toBe(true);
  return s;
}

/** Sizes of the prunable groups. */
export const sizes = (s: Structure) => s.groups.filter((g) => g.prunable).map((g) => g.size);
/** Verifies the model that gives `out`; sizes of its prunable groups. */
export const check = async (b: Builder, out: Value, options = {}) =>
  sizes(await verify(b.output(out).build(), options));

/** The gated model with all gates open, against the model. */
export async function openDifference(s: Structure, optimise: boolean): Promise<number> {
  const gated = gateModel(
    s,
    s.groups.filter((g) => g.prunable).map((g) => g.id),
  );
  const feeds = randomFeeds(s.model, seeded(3));
  const gates = Object.fromEntries(
    gated.gates.map((g) => [g.input.name, new ort.Tensor('float32', gateRow(g.size, undefined), [1, g.size])]),
  );
  const [a, b] = [await openSession(gated.model, optimise), await openSession(s.model, optimise)];
  const difference = maxRelDiff(await a.run({ ...feeds, ...gates }), await b.run(feeds));
  await a.release();
  await b.release();
  return difference;
}

/** Whether the proof of the evaluator follows the samples through what gates add. */
export function carriesSamples(s: Structure): boolean {
  const gated = gateModel(
    s,
    s.groups.filter((g) => g.prunable).map((g) => g.id),
  );
  const inputs = s.model.graph.inputs.map((v) => [v.name, v.type!.shape!.slice(1) as number[]] as const);
  const rows = new Map(gated.gates.map((g) => [g.input.name, [g.size]]));
  const { proof } = freeBatch(gated.model, new Map(inputs), { rows });
  if (!proof.carried) throw new Error(proof.reason);
  return proof.carried;
}

/** A builder, and the output of a layer of `c` neurons: [N, 5, c]. */
export function tokens(opset: number, c = 8, shape: Dim[] = ['N', 5, 6]): { b: Builder; x: Value; input: Value } {
  const b = new Builder({ opset });
  const input = b.input('x', shape);
  return { b, x: b.linear(input, 6, c, 'stem'), input };
}

/** A builder, and the output of a convolution with `c` channels: [N, c, 4, 4]. */
export function image(opset: number, c = 8): { b: Builder; x: Value } {
  const b = new Builder({ opset });
  return { b, x: b.conv(b.input('x', ['N', 3, 4, 4]), 3, c, [3, 3], { pads: [1, 1, 1, 1], name: 'stem' }) };
}

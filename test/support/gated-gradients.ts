import ort from 'onnxruntime-node';
import { addGradients } from '../../src/autodiff/gradient.ts';
import { emitterFor } from '../../src/autodiff/emit.ts';
import type { Model, Value } from '../../src/graph/ir.ts';
import { isFloatType } from '../../src/onnx/data-type.ts';
import { gateModel } from '../../src/units/gating.ts';
import type { Structure } from '../../src/units/types.ts';
import { openSession, seeded } from './invariant.ts';

export interface GatedLoss {
  model: Model;
  /** The sum over floating-point outputs of their mean square. */
  loss: Value;
  gates: Value[];
  /** Gradient by each gate. */
  gradients: Value[];
}

/** Gates on all prunable groups of a structure, a loss behind them, and its gradient by all gates. */
export function gatedLoss(structure: Structure): GatedLoss {
  const groups = structure.groups.filter((g) => g.prunable).map((g) => g.id);
  const gated = gateModel(structure, groups);
  const { model } = gated;
  const e = emitterFor(model, 'loss');
  const loss = model.graph.outputs
    .filter((v) => isFloatType(e.elemTypeOf(v)))
    .map((v) => e.meanAll(e.mul(v, v)))
    .reduce((a, b) => e.add(a, b));
  const gates = gated.gates.map((g) => g.input);
  const { gradients } = addGradients(model, loss, gates);
  return { model, loss, gates, gradients: gates.map((v) => gradients.get(v)!) };
}

/**
 * Worst difference between ⟨gradient, d⟩ and (loss(g + h·d) − loss(g − h·d)) / 2h along directions d of gates g, relative
 * to the gradient's norm (the root mean square of ⟨gradient, d⟩ for random signs): along random signs, and along the
 * gradient itself, scaled to their length.
 */
export async function directionalError(
  structure: Structure,
  feeds: Record<string, ort.Tensor>,
  { step = 3e-4, seed = 5 } = {},
): Promise<number> {
  const { model, loss, gates, gradients } = gatedLoss(structure);
  const random = seeded(seed);
  const sizes = gates.map((v) => Number(v.type!.shape![1]));
  const open = sizes.map((size) => Float64Array.from({ length: size }, () => 0.6 + 0.6 * random()));
  const at = (directions: Float64Array[], by: number) => ({
    ...feeds,
    ...Object.fromEntries(
      gates.map((v, i) => [
        v.name,
        new ort.Tensor(
          'float32',
          Float32Array.from(open[i], (x, k) => x + by * directions[i][k]),
          [1, sizes[i]],
        ),
      ]),
    ),
  });
  const outputs = [loss, ...gradients].map((v) => model.graph.addNode('Identity', [v], ['shown']).outputs[0]!);
  model.graph.outputs.splice(0, model.graph.outputs.length, ...outputs);
  const session = await openSession(model);
  const results = await session.run(at(open, 0));
  const gradient = outputs.slice(1).map((v) => Float64Array.from(results[v.name].data as Float32Array));
  const norm = Math.sqrt(inner(gradient, gradient));
  const length = Math.sqrt(sizes.reduce((a, b) => a + b, 0));
  const own = gradient.map((g) => g.map((x) => (x / norm) * length));
  const signs = gradient.map((g) => g.map(() => (random() < 0.5 ? -1 : 1)));
  const lossAt = async (d: Float64Array[], by: number) => {
    const { [outputs[0].name]: value } = await session.run(at(d, by), [outputs[0].name]);
    return (value.data as Float32Array)[0];
  };
  const errors: number[] = [];
  for (const { d, scale } of [
    { d: own, scale: norm * length },
    { d: signs, scale: norm },
  ]) {
    const slope = ((await lossAt(d, step)) - (await lossAt(d, -step))) / (2 * step);
    errors.push(Math.abs(slope - inner(gradient, d)) / scale);
  }
  await session.release();
  return Math.max(...errors);
}

function inner(a: readonly Float64Array[], b: readonly Float64Array[]): number {
  return a.reduce((sum, x, i) => x.reduce((s, v, k) => s + v * b[i][k], sum), 0);
}

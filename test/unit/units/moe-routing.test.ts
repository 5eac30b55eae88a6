/** The tensors that a router is said to have, computed by ONNX Runtime: choices and gates follow from the scores as said. */
import { readFileSync } from 'node:fs';
import ort from 'onnxruntime-node';
import { expect, it } from 'vitest';
import type { Value } from '../../../src/graph/ir.ts';
import { parseModel } from '../../../src/graph/load.ts';
import { serializeModel } from '../../../src/graph/save.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { findMixtures } from '../../../src/units/moe/detect.ts';
import type { Router } from '../../../src/units/moe/types.ts';
import { seeded } from '../../support/invariant.ts';
import { filledBytes } from '../../support/zoo.ts';

const FOLDER = new URL('../../fixtures/moe/', import.meta.url);
const manifest = JSON.parse(readFileSync(new URL('manifest.json', FOLDER), 'utf8')) as { models: { name: string }[] };

/** Numbers of tokens 0…31, or normal numbers, as the input of the exports asks. */
function feed(elemType: DataType): ort.Tensor {
  const random = seeded(3);
  if (elemType === DataType.INT64)
    return new ort.Tensor(
      'int64',
      BigInt64Array.from({ length: 64 }, () => BigInt(Math.floor(32 * random()))),
      [4, 16],
    );
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return new ort.Tensor('float32', Float32Array.from({ length: 2 * 12 * 16 }, normal), [2, 12, 16]);
}

/** Scores of the experts of one token as the gates take them: behind Softmax or Sigmoid, where the gates need it. */
function activated(logits: readonly number[], kind: Router['kind']): number[] {
  if (kind === 'sigmoid') return logits.map((v) => 1 / (1 + Math.exp(-v)));
  if (kind === 'none') return [...logits];
  const most = Math.max(...logits);
  const exps = logits.map((v) => Math.exp(v - most));
  const sum = exps.reduce((a, b) => a + b, 0);
  return exps.map((v) => v / sum);
}

it.each(manifest.models)('$name', async ({ name }) => {
  const structure = analyseStructure(parseModel(filledBytes(new URL(`${name}.onnx.gz`, FOLDER))));
  const { graph } = structure.model;
  const found = findMixtures(structure);
  const wanted = found.flatMap(({ router: r }) => [r.logits, r.probabilities, r.indices, r.gates]);
  for (const value of new Set(wanted)) if (value && !value.isGraphOutput) graph.outputs.push(value);
  const session = await ort.InferenceSession.create(serializeModel(structure.model));
  const input = graph.inputs[0];
  const results = await session.run({ [input.name]: feed(input.type!.elemType) });
  const rows = (value: Value, width: number): number[][] => {
    const data = Array.from(results[value.name].data as ArrayLike<number | bigint>, Number);
    return Array.from({ length: data.length / width }, (_, i) => data.slice(i * width, (i + 1) * width));
  };
  for (const { router, k } of found) {
    expect(k).not.toBeNull();
    expect(router.indices).not.toBeNull();
    expect(router.gates).not.toBeNull();
    const logits = rows(router.logits, router.width);
    const chosen = rows(router.indices!, k!);
    const gates = rows(router.gates!, k!);
    const bias = router.selectionBias?.initializer?.toFloat32();
    const factors: number[] = [];
    const probabilities = router.probabilities && rows(router.probabilities, router.width);
    let worst = 0;
    logits.forEach((row, token) => {
      const scores = activated(row, router.kind);
      probabilities?.[token].forEach((value, e) => (worst = Math.max(worst, Math.abs(value - scores[e]))));
      const keys = scores.map((s, e) => s + (bias?.[e] ?? 0));
      const best = keys.map((_, e) => e).sort((a, b) => keys[b] - keys[a]);
      // DeepSeek first chooses a group of experts, half of them here.
      const allowed = name.startsWith('deepseek') ? best.filter((e) => e >> 2 === chosen[token][0] >> 2) : best;
      expect([...chosen[token]].sort()).toEqual(allowed.slice(0, k!).sort());
      const sum = router.normalised ? chosen[token].reduce((s, e) => s + scores[e], 0) : 1;
      chosen[token].forEach((e, slot) => factors.push(gates[token][slot] / (scores[e] / sum)));
    });
    expect(worst).toBeLessThan(1e-5);
    // Gates may be scaled by one number for all (2.5 in DeepSeek's configuration).
    const scale = name.startsWith('deepseek') ? 2.5 : 1;
    expect(Math.max(...factors.map((f) => Math.abs(f - scale)))).toBeLessThan(1e-3);
  }
});

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadModel } from '../../../src/graph/load.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { checkInvariant } from '../../support/invariant.ts';

/** Every prunable group of a model file: pruned = gated, judged by onnxruntime. */
async function holds(
  path: string,
  options: { dims?: Record<string, number>; most?: number; optimise?: boolean; fp16?: boolean } = {},
): Promise<number> {
  const structure = analyseStructure(loadModel(path));
  const prunable = structure.groups.filter((g) => g.prunable);
  const every = Math.max(1, Math.floor(prunable.length / (options.most ?? Infinity)));
  const chosen = new Set(prunable.filter((_, i) => i % every === 0));
  const { results, tolerance } = await checkInvariant(structure, {
    groups: (g) => chosen.has(g),
    dims: options.dims,
    optimise: options.optimise,
    seed: 4,
  });
  const allowed = options.fp16 ? 1e-2 : tolerance;
  for (const r of results)
    expect(r.diff, `${path}: ${r.group} keeping ${r.kept} of ${r.size}`).toBeLessThanOrEqual(allowed);
  return chosen.size;
}

describe('pruned = gated on shipped models', () => {
  it.each([
    ['digits', 6],
    ['lenet5', 3],
  ])('%s', async (name, groups) => {
    expect(await holds(join('examples', name, 'model.onnx'))).toBe(groups);
  });
});

const corpus = process.env.SECATEUR_CORPUS;
describe.skipIf(!corpus || !existsSync(corpus))('pruned = gated on the corpus', () => {
  it.each([
    'earlyexit_cifar10/model.onnx',
    'earlyexit_cifar10/model_if.onnx',
    'lenet5_mnist/model_dynamo_op18.onnx',
    'lenet5_mnist/model_external.onnx',
    'mlp_adult/model.onnx',
    'moe_charlm_shakespeare/model.onnx',
    'moe_charlm_shakespeare/model_contrib_moe.onnx',
  ])('%s', async (file) => {
    expect(await holds(join(corpus!, 'trained', file), { most: 8 })).toBeGreaterThan(0);
  });
  it('quantised LeNet-5, optimisations off on both sides', async () => {
    expect(await holds(join(corpus!, 'trained/lenet5_mnist/model_int8_qdq.onnx'), { optimise: false })).toBe(3);
  });
  it.each([
    'ultraface_rfb320/version-RFB-320.onnx',
    'yunet_n_dynamic/yunet_n_dynamic.onnx',
    'super_resolution10/model.onnx',
    'mnist8_cntk/model.onnx',
    'openseeface_landmarks_mnv3/lm_model0_opt.onnx',
    'polygraphy_residual_block/residual_block.onnx',
    'dtln_1/model_1.onnx',
  ])('%s', async (file) => {
    await holds(join(corpus!, 'models', file), { most: 4, dims: { height: 64, width: 64, batch: 1 } });
  });
  it('half precision', async () => {
    expect(
      await holds(join(corpus!, 'models/squeezenet_fp16/SqueezeNet_fp16.onnx'), { most: 4, fp16: true }),
    ).toBeGreaterThan(3);
  });
});

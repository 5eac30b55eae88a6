/** Hidden units of experts are groups like any others: the pruned model equals the gated one. */
import ort from 'onnxruntime-node';
import { expect, it } from 'vitest';
import { parseModel } from '../../../src/graph/load.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { checkInvariant, seeded } from '../../support/invariant.ts';
import { filledBytes } from '../../support/zoo.ts';

it.each(['sidebyside.torchscript', 'gathered.torchscript', 'put.dynamo', 'batched.dynamo', 'lookedup.dynamo'])(
  '%s',
  async (name) => {
    const file = new URL(`../../fixtures/moe/${name}.onnx.gz`, import.meta.url);
    const structure = analyseStructure(parseModel(filledBytes(file)));
    const random = seeded(4);
    const x = new ort.Tensor(
      'float32',
      Float32Array.from({ length: 384 }, () => 4 * random() - 2),
      [2, 12, 16],
    );
    expect(structure.groups.some((g) => g.prunable && g.size === 24)).toBe(true);
    await checkInvariant(structure, { feeds: { x }, most: 3, shares: [0.5] });
  },
);

/** Mean activations against the outputs of the operand itself, sample by sample. */
import { describe, expect, it } from 'vitest';
import { ActivationRuns } from '../../../src/evaluation/moments/index.ts';
import { cloneModel } from '../../../src/graph/clone.ts';
import type { Value } from '../../../src/graph/ir.ts';
import { toFloat32 } from '../../../src/runtime/host-tensor.ts';
import { createSession } from '../../../src/runtime/session.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import type { Structure } from '../../../src/units/types.ts';
import { builder, type Builder } from '../../support/build.ts';
import { randomDataset } from '../../support/datasets.ts';

const SAMPLES = 7;

/** Networks of a hidden layer of 5 units, whose activations the second layer reads. */
const NETWORKS: Record<string, { sample: number[]; unitAxis: number; hidden(b: Builder, x: Value): Value }> = {
  'samples along axis 0': {
    sample: [3],
    unitAxis: 1,
    hidden: (b, x) => b.op('Relu', [b.op('Gemm', [x, b.weight([3, 5])])]),
  },
  'samples along axis 1, time in front': {
    sample: [4, 3],
    unitAxis: 2,
    hidden: (b, x) => b.op('Relu', [b.op('MatMul', [b.op('Transpose', [x], { perm: [1, 0, 2] }), b.weight([3, 5])])]),
  },
  images: {
    sample: [2, 4, 4],
    unitAxis: 1,
    hidden: (b, x) => b.relu(b.conv(x, 2, 5, 3)),
  },
};

/** Mean of |x| by unit over all samples, each run in a batch of nothing else. */
async function meanOneByOne(
  { model }: Structure,
  operand: Value,
  sample: number[],
  batch: number | null,
  unitAxis: number,
): Promise<number[]> {
  const clone = cloneModel(model);
  const value = clone.value(operand);
  clone.model.graph.outputs.splice(0, Infinity, value);
  const session = await createSession(clone.model, { device: 'cpu' });
  const dataset = randomDataset(SAMPLES, sample, batch);
  const [sums, counts] = [new Float64Array(5), new Float64Array(5)];
  for (let i = 0; i < SAMPLES; i++) {
    const given = (await session.run(dataset.feeds(new Int32Array(batch ?? 1).fill(i))))[value.name];
    const inner = given.dims.slice(unitAxis + 1).reduce((a, b) => a * b, 1);
    toFloat32(given).forEach((x, at) => {
      const unit = Math.floor(at / inner) % 5;
      sums[unit] += Math.abs(x);
      counts[unit]++;
    });
  }
  await session.release();
  return Array.from(sums, (sum, unit) => sum / counts[unit]);
}

describe.each(Object.entries(NETWORKS))('%s', (_, { sample, unitAxis, hidden }) => {
  it.each([null, 1, 4, 16])('are the means over all samples with a batch of %s', async (batch) => {
    const b = builder();
    const read = hidden(b, b.input('x', [batch ?? 'N', ...sample]));
    b.output(sample.length === 3 ? b.conv(read, 5, 2, 1) : b.op('MatMul', [read, b.weight([5, 2])]));
    const structure = analyseStructure(b.build());
    const group = structure.groups.find((g) => g.size === 5 && g.prunable)!;
    const found = await new ActivationRuns(structure, randomDataset(SAMPLES, sample, batch), 'cpu').meanAbs(group);
    const [{ node, input }] = group.sites;
    const expected = await meanOneByOne(structure, node.inputs[input]!, sample, batch, unitAxis);
    expected.forEach((mean, unit) => expect(found[unit]).toBeCloseTo(mean, 6));
    expect(Math.max(...expected)).toBeGreaterThan(1.5 * Math.min(...expected));
  });
});

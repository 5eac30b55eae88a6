import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseModel } from '../../../src/graph/load.ts';
import { saveModel, serializeModel } from '../../../src/graph/save.ts';
import { pruneModel } from '../../../src/pruning/surgery.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import type { Structure } from '../../../src/units/types.ts';
import { builder } from '../../support/build.ts';
import { temporaryFolder } from '../../support/temporary.ts';

const folder = temporaryFolder();

/** Residual sums, a grouped convolution, a concatenation, a weight that two layers share, sizes that are computed. */
function network(): Uint8Array {
  const b = builder();
  let x = b.relu(b.bn(b.conv(b.input('x', ['N', 3, 8, 8]), 3, 32), 32));
  x = b.relu(b.add(x, b.conv(b.relu(b.conv(x, 32, 64)), 64, 32)));
  x = b.conv(x, 32, 32, 3, { group: 4, pads: [1, 1, 1, 1] });
  x = b.concat([x, b.conv(x, 32, 16, 1)]);
  const flat = b.op('Reshape', [b.globalPool(x), b.ints([0, -1])]);
  const shared = b.weight([40, 48], 'shared');
  const [left, right] = [0, 1].map((i) => b.relu(b.op('Gemm', [flat, shared], { transB: 1 }, `side${i}`)));
  return b.output(b.gemm(left, 40, 5), b.gemm(right, 40, 6)).bytes();
}

/** Every second unit of every group; of each block, where there are any. */
function plan(structure: Structure): [string, number[]][] {
  return structure.groups
    .filter((g) => g.prunable)
    .map((g) => [g.id, (g.blocks ?? [[...g.atoms.keys()]]).flatMap((block) => block.filter((_, i) => i % 2 === 0))]);
}

test('the same plan gives the same bytes', () => {
  const bytes = network();
  const structure = analyseStructure(parseModel(bytes));
  const keep = plan(structure);
  expect(keep.length).toBeGreaterThan(4);
  const first = serializeModel(pruneModel(structure, new Map(keep)).model);
  expect(first.length).toBeLessThan(0.6 * bytes.length);

  const again = analyseStructure(parseModel(network()));
  // Neither the order of the groups nor that of the units is part of a plan.
  const reversed = keep.map(([id, units]): [string, number[]] => [id, [...units].reverse()]).reverse();
  for (const [s, k] of [
    [structure, keep],
    [again, keep],
    [again, reversed],
  ] as const)
    expect(Buffer.compare(serializeModel(pruneModel(s, new Map(k)).model), first)).toBe(0);
});

test('the same plan gives the same files, with external data, too', () => {
  const structure = analyseStructure(parseModel(network()));
  const made = ['a.onnx', 'b.onnx'].map((name) => {
    const { model } = pruneModel(structure, new Map(plan(structure)));
    return saveModel(model, join(folder, name), { external: true }).files.map((f) => readFileSync(f));
  });
  expect(made[0].length).toBe(2);
  // The model names its data by its own name, of equal length here.
  expect(made[0][1].equals(made[1][1])).toBe(true);
  expect(made[0][0].toString('latin1').replaceAll('a.onnx', 'b.onnx')).toBe(made[1][0].toString('latin1'));
});

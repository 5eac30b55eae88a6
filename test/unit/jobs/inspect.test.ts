import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { SecateurError } from '../../../src/errors.ts';
import { fileSha256 } from '../../../src/engine/jobs/hash.ts';
import { model, run, scratch } from './jobs.ts';

test('the report of the example is right', async () => {
  const report = await run('inspect', { model });
  const file = readFileSync(model);
  expect(report.model).toEqual({
    path: model,
    sha256: createHash('sha256').update(file).digest('hex'),
    bytes: file.length,
    opset: 17,
    irVersion: 8,
    producer: report.model.producer,
  });
  // Counted with Python's onnx 1.23 over the initializers and inferred shapes (Conv, Gemm: all elements; batch norm:
  // scale and bias only; MACs: output positions × elements of one filter).
  expect(report.totals).toEqual({ parameters: 85426, macs: 1857504, nodes: 29 });
  expect(report.inputs.map(({ name, type }) => ({ name, type }))).toEqual([{ name: 'x', type: 'float' }]);
  expect(report.outputs.map(({ name, type }) => ({ name, type }))).toEqual([{ name: 'logits', type: 'float' }]);
  const byName = new Map(report.layers.map((l) => [l.name, l]));
  expect(byName.get('block2/conv1')).toMatchObject({ op: 'Conv', parameters: 10368, macs: 165888 });
  expect(byName.get('block2/conv1')!.shape!.slice(1)).toEqual([48, 4, 4]);
  expect(byName.get('block2/bn1')).toMatchObject({ parameters: 96, macs: 0 });
  expect(byName.get('head')).toMatchObject({ op: 'Gemm', parameters: 490, macs: 480 });

  const groups = new Map(report.groups.map((g) => [g.id, g]));
  // The residual stream of width 24 and that of width 48 couple several convolutions each; inner ones stand alone.
  expect(groups.get('stem/conv')).toMatchObject({
    kind: 'channel',
    size: 24,
    prunable: true,
    layers: ['stem/conv', 'block1/conv2'],
  });
  expect(groups.get('block1/conv1')).toMatchObject({
    size: 24,
    prunable: true,
    layers: ['block1/conv1'],
    consumers: ['block1/conv2'],
  });
  // conv1 and its batch norm make the units (5184 + 48), conv2 reads them (5184).
  expect(groups.get('block1/conv1')).toMatchObject({ parameters: 10416, macs: 663552 });
  expect(
    report.groups
      .filter((g) => g.prunable && g.kind !== 'block')
      .map((g) => g.size)
      .sort(),
  ).toEqual([24, 24, 48, 48, 48]);
  // Two blocks add to what they read; the others change the width. Their cost is that of all of their layers.
  const blocks = report.groups.at(-1)!;
  expect(blocks).toMatchObject({ id: 'block1/add#blocks', kind: 'block', size: 2, prunable: true });
  expect(blocks.layers.slice(0, 2)).toEqual(['block1/conv1', 'block1/conv2']);
  expect(blocks.consumers).toHaveLength(2);
  const inside = report.layers.filter((l) => blocks.layers.includes(l.name));
  expect(blocks.macs).toBe(inside.reduce((sum, l) => sum + l.macs, 0));
  expect(report.layers.find((l) => l.name === 'block1/conv1')!.group).toBe('block1/conv1');
  const order = report.groups.slice(0, -1).map((g) => report.layers.findIndex((l) => l.name === g.layers[0]));
  expect(order).toEqual([...order].sort((a, b) => a - b));
  expect(report.prunable.parameters).toBeGreaterThan(0.95);
  expect(report.costTerms.length).toBeGreaterThan(0);
});

const corpus = process.env.SECATEUR_CORPUS;

test.skipIf(!corpus || !existsSync(corpus))(
  'no model of the corpus makes inspect throw anything but one sentence',
  { timeout: 300_000 },
  async () => {
    const failed: string[] = [];
    for (const path of onnxFiles(corpus!)) {
      try {
        const report = await run('inspect', { model: path });
        JSON.stringify(report);
      } catch (thrown) {
        const line =
          thrown instanceof SecateurError
            ? `${thrown.code}: ${thrown.toLine()}`
            : `NOT A SENTENCE ${String((thrown as Error).stack)}`;
        failed.push(`${path.slice(corpus!.length + 1)} ${line}`);
      }
    }
    expect(failed.filter((line) => !/^models\/broken_\S+ bad-model: [^\n]+$/.test(line))).toEqual([]);
  },
);

function onnxFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.onnx'))
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile())
    .sort();
}

test('the hash of a large file is computed aside, and is right', async () => {
  const path = join(scratch(), 'large.bin');
  const bytes = Buffer.alloc(70 << 20, 'secateur');
  writeFileSync(path, bytes);
  expect(await fileSha256(path)).toBe(createHash('sha256').update(bytes).digest('hex'));
});

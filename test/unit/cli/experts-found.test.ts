/** What `inspect` says of mixtures of experts. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { InspectReport } from '../../../src/formats.ts';
import { filledBytes } from '../../support/zoo.ts';
import { buildCommand, removeCommand, secateur } from './command.ts';

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'secateur-moe-'));
  await buildCommand();
});
afterAll(() => {
  removeCommand();
  rmSync(folder, { recursive: true, force: true });
});

function written(name: string): string {
  const path = join(folder, `${name}.onnx`);
  writeFileSync(path, filledBytes(new URL(`../../fixtures/moe/${name}.onnx.gz`, import.meta.url)));
  return path;
}

test('lists mixtures as text and as JSON', async () => {
  const path = written('sharedlast.torchscript');
  const { moe, layers } = JSON.parse((await secateur('inspect', path, '--json')).stdout) as InspectReport;
  expect(moe.map((m) => m.id)).toEqual(['/layers.0/routed/router/MatMul', '/layers.1/routed/router/MatMul']);
  const names = new Set(layers.map((l) => l.name));
  for (const m of moe) {
    expect(m).toMatchObject({
      form: 'gathered',
      k: 2,
      problems: [],
      router: { layer: m.id, width: 4, normalised: true },
    });
    expect(m.experts.map((e) => e.layers.length)).toEqual([2, 2, 2, 2]);
    expect(m.shared).toHaveLength(1);
    for (const name of [...m.experts, ...m.shared].flatMap((e) => e.layers)) expect(names).toContain(name);
  }
  const text = (await secateur('inspect', path)).stdout;
  expect(text).toMatch(/experts of +form +number +per token +router +parameters each +shared/);
  expect(text).toMatch(/\/layers\.0\/routed\/router\/MatMul +gathered +4 +2 +softmax-topk, normalised +808 +808/);
});

test('says what is wrong with an export', async () => {
  const text = (await secateur('inspect', written('switch.eager.torchscript'))).stdout;
  expect(text).toMatch(
    /router\/classifier\/MatMul.*: The exporter counted experts among those that its sample reached/,
  );
});

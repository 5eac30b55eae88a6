/** Whatever is wrong with the input ends in one sentence with the right code, and nothing is written. */
import { existsSync, linkSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Plan } from '../../../src/formats.ts';
import { exitCodeOf } from '../../../src/cli/run.ts';
import { loadModel } from '../../../src/graph/load.ts';
import { saveModel } from '../../../src/graph/save.ts';
import { calib, failure, model, run, scratch, writeNpz } from './jobs.ts';

const device = 'cpu' as const;

async function planOf(path = model): Promise<Plan> {
  const { model: ref } = await run('inspect', { model: path });
  return {
    format: 'secateur-plan/1',
    model: ref,
    groups: [{ id: 'block1/conv1', keep: Array.from({ length: 12 }, (_, i) => 2 * i) }],
    target: { kind: 'manual' },
    allocation: 'manual',
    minKeep: 0,
    roundTo: 1,
    from: null,
  };
}

function randomBytes(count: number): Uint8Array {
  let state = 12345;
  return Uint8Array.from({ length: count }, () => (state = (state * 1103515245 + 12345) & 0x7fffffff) >> 16);
}

test.each<[string, () => Uint8Array]>([
  ['an empty file', () => new Uint8Array()],
  ['random bytes', () => randomBytes(5000)],
  ['text', () => Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12\n')],
  ['a truncated model', () => readFileSync(model).subarray(0, 200_000)],
  ['a model without its last byte', () => readFileSync(model).subarray(0, -1)],
])('%s is not a readable model', async (_, bytes) => {
  const path = join(scratch(), 'bad.onnx');
  writeFileSync(path, bytes());
  const error = await failure(run('inspect', { model: path }));
  expect(error.code).toBe('bad-model');
  expect(error.message).toContain(path);
  expect(exitCodeOf(error.code)).toBe(2);
});

/** The example with its weights in an external file. */
function externalExample(folder: string): string {
  const path = join(folder, 'external.onnx');
  saveModel(loadModel(model), path, { external: true });
  return path;
}

test('a missing external file: the graph can be seen, but nothing runs', async () => {
  const folder = scratch();
  const path = externalExample(folder);
  const moved = join(scratch(), 'moved.data');
  writeFileSync(moved, readFileSync(`${path}.data`));
  const { unlinkSync } = await import('node:fs');
  unlinkSync(`${path}.data`);
  const report = await run('inspect', { model: path });
  expect(report.totals.parameters).toBe(85426);
  expect(report.warnings.join(' ')).toMatch(/external\.onnx\.data.*missing/);
  const error = await failure(run('evaluate', { model: path, data: calib, device }));
  expect(error.code).toBe('bad-model');
  expect(error.message).toContain('missing');
});

test('external data outside of the folder is refused, also through a link', async () => {
  const folder = scratch();
  const path = externalExample(folder);
  const outside = join(scratch(), 'outside.data');
  const { renameSync } = await import('node:fs');
  renameSync(`${path}.data`, outside);
  symlinkSync(outside, `${path}.data`);
  for (const job of [run('inspect', { model: path }), run('evaluate', { model: path, data: calib, device })]) {
    const error = await failure(job);
    expect(error.code).toBe('bad-model');
    expect(error.message).toContain("outside of the model's folder");
  }
});

const pixels = (samples: number, size = 64) => ({
  dims: [samples, 1, size / 8, 8],
  data: new Float32Array(samples * size).fill(0.5),
});
const classes = (samples: number, label: number) => ({
  dims: [samples],
  data: new BigInt64Array(samples).fill(BigInt(label)),
});

test.each<[string, (path: string) => string, RegExp]>([
  [
    'shapes that do not fit',
    (p) => writeNpz(p, { x: pixels(10, 128), labels: classes(10, 1) }),
    /x.*\[?1, ?8, ?8|shape/,
  ],
  ['labels out of range', (p) => writeNpz(p, { x: pixels(10), labels: classes(10, 17) }), /17/],
  ['negative labels', (p) => writeNpz(p, { x: pixels(10), labels: classes(10, -2) }), /-2|−2/],
  ['too few labels', (p) => writeNpz(p, { x: pixels(10), labels: classes(7, 1) }), /7/],
  [
    'NaN in the inputs',
    (p) => writeNpz(p, { x: { ...pixels(10), data: new Float32Array(640).fill(NaN) }, labels: classes(10, 1) }),
    /NaN|not a number|finite/i,
  ],
  ['no array for the input', (p) => writeNpz(p, { labels: classes(10, 1) }), /x/],
  ['a truncated archive', (p) => (writeFileSync(p, readFileSync(calib.path!).subarray(0, 9000)), p), /./],
  ['random bytes', (p) => (writeFileSync(p, randomBytes(900)), p), /./],
])('data with %s: one sentence', async (_, make, message) => {
  const path = make(join(scratch(), 'data.npz'));
  const error = await failure(run('evaluate', { model, data: { path, seed: 0 }, device }));
  expect(exitCodeOf(error.code)).toBe(2);
  expect(error.toLine()).toMatch(message);
});

test.each<[string, (folder: string) => string, RegExp]>([
  ['in a folder that is not there', (f) => join(f, 'no', 'small.onnx'), /folder does not exist/],
  ['below a file', (f) => (writeFileSync(join(f, 'file'), ''), join(f, 'file', 'small.onnx')), /not a folder/],
  ['at a folder', (f) => (mkdirSync(join(f, 'small.onnx')), join(f, 'small.onnx')), /is a folder/],
  ['at the model', () => model, /never overwritten/],
  [
    'at a hard link to the model',
    (f) => {
      const p = join(f, 'm.onnx');
      writeFileSync(p, readFileSync(model));
      linkSync(p, join(f, 'small.onnx'));
      return join(f, 'small.onnx');
    },
    /never overwritten/,
  ],
  ['at the data', () => calib.path!, /never overwritten/],
  ['in /proc, where nobody may write', () => '/proc/small.onnx', /Cannot write/],
])('an export %s is refused and nothing is written', async (_, out, message) => {
  const folder = scratch();
  const target = out(folder);
  const source = existsSync(join(folder, 'm.onnx')) ? join(folder, 'm.onnx') : model;
  const before = readdirSync(folder, { recursive: true });
  const error = await failure(
    run('prune', { model: source, data: calib, plan: await planOf(source), out: target, device }),
  );
  expect(error.toLine()).toMatch(message);
  expect(exitCodeOf(error.code)).toBe(2);
  expect(readdirSync(folder, { recursive: true })).toEqual(before);
});

test('a full disk leaves nothing behind', async (context) => {
  // A file system of 64 kB in memory, where mounting is allowed (as root on Linux).
  const folder = scratch();
  const { execFileSync } = await import('node:child_process');
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder], { stdio: 'ignore' });
  } catch {
    return context.skip();
  }
  try {
    const error = await failure(
      run('prune', { model, data: calib, plan: await planOf(), out: join(folder, 'small.onnx'), device }),
    );
    expect(error.code).toBe('io');
    expect(error.message).toContain('disk is full');
    expect(error.message).toContain(join(folder, 'small.onnx'));
    expect(readdirSync(folder)).toEqual([]);
  } finally {
    execFileSync('umount', [folder]);
  }
});

test('plans and ranks of another model are refused', async () => {
  const plan = await planOf();
  const other = { ...plan, model: { ...plan.model, sha256: '0'.repeat(64) } };
  const error = await failure(
    run('prune', { model, data: calib, plan: other, out: join(scratch(), 'small.onnx'), device }),
  );
  expect(error.code).toBe('bad-data');
  expect(error.message).toMatch(/another model|not.*this model|SHA/i);
});

test('metrics that the data does not allow, unknown groups, outputs and inputs are usage errors', async () => {
  const unlabelled = writeNpz(join(scratch(), 'x.npz'), { x: pixels(10) });
  expect(
    (await failure(run('evaluate', { model, data: { path: unlabelled, seed: 0 }, metric: 'accuracy', device }))).code,
  ).toBe('usage');
  expect(
    (await failure(run('rank', { model, data: calib, method: 'magnitude', groups: ['nope'], seed: 0, device }))).code,
  ).toBe('usage');
  expect((await failure(run('evaluate', { model, data: { ...calib, output: 'nope' }, device }))).code).toBe('usage');
  expect((await failure(run('evaluate', { model, data: { ...calib, constants: { nope: 1 } }, device }))).code).toBe(
    'usage',
  );
});

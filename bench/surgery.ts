/**
 * Surgery and export of a model of 1 GB: half of the units of every group goes, `npm run bench surgery`. Each case is a
 * process of its own: opening, analysis, pruning and writing (to the disk, not only to the cache) with MB of the
 * original per second and the peak of resident memory, beside a plain copy of the same file. Exits with 1 when a case is
 * slower than 300 MB/s or takes 1 GB of memory.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, fsyncSync, mkdtempSync, openSync, readFileSync, readSync, rmSync } from 'node:fs';
import { statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Value } from '../src/graph/ir.ts';
import { loadModel } from '../src/graph/load.ts';
import { saveModel } from '../src/graph/save.ts';
import { Rng } from '../src/math/random.ts';
import { Tensor } from '../src/onnx/tensor.ts';
import { pruneModel } from '../src/pruning/surgery.ts';
import { analyseStructure } from '../src/units/analyse.ts';
import { Builder } from '../test/support/build.ts';

const FASTEST_OF = 3;
const LEAST_SPEED = 300;
const MOST_MEGABYTES = 1000;

const CASES = [
  { name: 'linear, external data', external: true, build: linear },
  { name: 'linear, one file', external: false, build: linear },
  { name: 'convolutions, external data', external: true, build: convolutions },
  { name: 'convolutions, one file', external: false, build: convolutions },
] as const;

/** Weights are windows of one random array: all differ, none is kept twice in memory. */
function weights(net: Builder): (dims: number[]) => Value {
  const rng = Rng.from(1);
  const pool = Float32Array.from({ length: 1 << 24 }, () => rng.float() - 0.5);
  let number = 0;
  return (dims) => {
    const size = dims.reduce((a, b) => a * b, 1);
    const start = (1013 * number++) % (pool.length - size + 1);
    return net.constant(Tensor.fromFloat32(`weight${number}`, dims, pool.subarray(start, start + size)));
  };
}

/** Layers of MatMul and Add, each 64 MB but for the first and the last. */
function linear(net: Builder): void {
  const weight = weights(net);
  const width = 4095;
  let x = net.input('x', ['N', 64]);
  const sizes = [64, ...Array<number>(16).fill(width), 16];
  for (let i = 1; i < sizes.length; i++) {
    x = net.add(net.op('MatMul', [x, weight([sizes[i - 1], sizes[i]])]), weight([sizes[i]]));
    if (i < sizes.length - 1) x = net.relu(x);
  }
  net.output(x);
}

/** 3×3 convolutions with BatchNormalization, each 37 MB, and a residual sum around every second of them. */
function convolutions(net: Builder): void {
  const weight = weights(net);
  const width = 1020;
  let x = net.input('x', ['N', 16, 32, 32]);
  const conv = (v: Value, from: number) => {
    const attrs = { kernel_shape: [3, 3], pads: [1, 1, 1, 1] };
    const y = net.op('Conv', [v, weight([width, from, 3, 3]), weight([width])], attrs);
    return net.op('BatchNormalization', [y, ...Array.from({ length: 4 }, () => weight([width]))]);
  };
  x = net.relu(conv(x, 16));
  for (let i = 0; i < 13; i++) x = net.relu(net.add(x, conv(net.relu(conv(x, width)), width)));
  net.output(net.op('Gemm', [net.flatten(net.globalPool(x)), weight([16, width])], { transB: 1 }));
}

/** Peak of resident memory in MB. */
function peak(): number {
  if (!existsSync('/proc/self/status')) return process.resourceUsage().maxRSS / 1024;
  return Number(/VmHWM:\s*(\d+)/.exec(readFileSync('/proc/self/status', 'latin1'))![1]) / 1024;
}

interface Result {
  analysis: number;
  pruning: number;
  writing: number;
  megabytes: number;
  files: string[];
  groups: number;
  bytes: number;
}

function child(file: string, out: string): void {
  const seconds = () => performance.now() / 1000;
  const start = seconds();
  const structure = analyseStructure(loadModel(file));
  const analysed = seconds();
  // Every second unit: no run of bytes is longer than it has to be.
  const keep = new Map(
    structure.groups.filter((g) => g.prunable).map((g) => [g.id, [...g.atoms.keys()].filter((u) => u % 2 === 0)]),
  );
  const { model } = pruneModel(structure, keep);
  const pruned = seconds();
  const { files, bytes } = saveModel(model, out);
  const times = { analysis: analysed - start, pruning: pruned - analysed, writing: seconds() - pruned };
  console.log(JSON.stringify({ ...times, megabytes: peak(), files, groups: keep.size, bytes } satisfies Result));
}

/** The baseline: copies through a small window and waits for the disk, as the export does. Seconds. */
function copy(from: string, to: string): number {
  const start = performance.now();
  const [input, output] = [openSync(from, 'r'), openSync(to, 'w')];
  const window = Buffer.allocUnsafe(1 << 23);
  for (let n; (n = readSync(input, window)) > 0;) writeSync(output, window, 0, n);
  fsyncSync(output);
  closeSync(input);
  closeSync(output);
  rmSync(to);
  return (performance.now() - start) / 1000;
}

function parent(): void {
  const missed: string[] = [];
  for (const { name, external, build } of CASES) {
    const folder = mkdtempSync(path.join(tmpdir(), 'secateur-surgery-'));
    try {
      const file = path.join(folder, 'model.onnx');
      const net = new Builder();
      build(net);
      const { bytes, files } = saveModel(net.model, file, { external });
      const largest = files.reduce((a, b) => (statSync(a).size > statSync(b).size ? a : b));
      const runs: (Result & { speed: number; copying: number })[] = [];
      for (let i = 0; i < FASTEST_OF; i++) {
        const copying = copy(largest, path.join(folder, 'copy'));
        const out = path.join(folder, 'small.onnx');
        const { stdout, stderr, status } = spawnSync(process.execPath, [process.argv[1], '--child', file, out], {
          encoding: 'utf8',
        });
        if (status !== 0) throw new Error(stderr);
        const result = JSON.parse(stdout) as Result;
        for (const made of result.files) rmSync(made);
        runs.push({ ...result, copying, speed: bytes / 1e6 / (result.pruning + result.writing) });
      }
      const best = runs.reduce((a, b) => (a.speed > b.speed ? a : b));
      const memory = Math.max(...runs.map((r) => r.megabytes));
      const copied = Math.max(...runs.map((r) => bytes / 1e6 / r.copying));
      console.log(
        `\n${name}: ${(bytes / 1e9).toFixed(2)} GB to ${(best.bytes / 1e9).toFixed(2)} GB, ${best.groups} groups\n` +
          `  analysis ${best.analysis.toFixed(2)} s, pruning ${best.pruning.toFixed(2)} s, writing ${best.writing.toFixed(2)} s\n` +
          `  ${runs.map((r) => r.speed.toFixed(0)).join(', ')} MB/s (required: ≥ ${LEAST_SPEED}; a plain copy: ${copied.toFixed(0)}), ` +
          `${memory.toFixed(0)} MB resident (required: < ${MOST_MEGABYTES})`,
      );
      if (best.speed < LEAST_SPEED) missed.push(`${name}: ${best.speed.toFixed(0)} MB/s`);
      if (memory >= MOST_MEGABYTES) missed.push(`${name}: ${memory.toFixed(0)} MB resident`);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  console.log(missed.length ? `\nrequirements missed: ${missed.join('; ')}` : '\nall requirements met');
  process.exitCode = missed.length ? 1 : 0;
}

const at = process.argv.indexOf('--child');
if (at >= 0) child(process.argv[at + 1], process.argv[at + 2]);
else parent();

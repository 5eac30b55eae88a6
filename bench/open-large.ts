/**
 * Opens a model of 1 GB whose weights are inside the file, as `inspect` does, in a process of its own:
 * `npm run bench open-large`. Exits with 1 when that takes a second or 300 MB of resident memory.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { inspect } from '../src/engine/jobs/inspect.ts';
import { Graph, type Model, type Value } from '../src/graph/ir.ts';
import { saveModel } from '../src/graph/save.ts';
import { DataType } from '../src/onnx/data-type.ts';
import { Tensor } from '../src/onnx/tensor.ts';

const LAYERS = 16;
const WIDTH = 4096;
const MOST_SECONDS = 1;
const MOST_MEGABYTES = 300;

/** Fully connected layers of 64 MB each; all share the bytes in memory, none in the file. */
function writeModel(file: string): void {
  const graph = new Graph('large');
  const model: Model = {
    irVersion: 8,
    opsets: new Map([['', 17]]),
    producer: 'bench',
    metadata: new Map(),
    graph,
    functions: [],
  };
  const bytes = new Uint8Array(new Float32Array(WIDTH * WIDTH).map((_, i) => (i % 251) / 251 - 0.5).buffer);
  let x: Value = graph.addInput('x', { kind: 'tensor', elemType: DataType.FLOAT, shape: ['N', WIDTH] });
  for (let i = 0; i < LAYERS; i++) {
    const w = graph.addInitializer(`w${i}`, Tensor.fromBytes(`w${i}`, DataType.FLOAT, [WIDTH, WIDTH], bytes));
    x = graph.addNode('MatMul', [x, w], [`h${i}`], { name: `layer${i}` }).outputs[0]!;
    if (i < LAYERS - 1) x = graph.addNode('Relu', [x], [`a${i}`], { name: `relu${i}` }).outputs[0]!;
  }
  x.type = { kind: 'tensor', elemType: DataType.FLOAT, shape: ['N', WIDTH] };
  graph.outputs.push(x);
  saveModel(model, file, { external: false });
}

async function child(file: string): Promise<void> {
  const start = performance.now();
  const report = await inspect({ model: file }, { signal: new AbortController().signal, progress: () => undefined });
  const seconds = (performance.now() - start) / 1000;
  const megabytes = process.resourceUsage().maxRSS / 1024;
  console.log(
    JSON.stringify({ seconds, megabytes, parameters: report.totals.parameters, groups: report.groups.length }),
  );
}

function parent(): void {
  const folder = mkdtempSync(path.join(tmpdir(), 'secateur-large-'));
  try {
    const file = path.join(folder, 'large.onnx');
    writeModel(file);
    const bytes = statSync(file).size;
    const runs = Array.from({ length: 3 }, () => {
      const { stdout, stderr, status } = spawnSync(process.execPath, [process.argv[1], '--child', file], {
        encoding: 'utf8',
      });
      if (status !== 0) throw new Error(stderr);
      return JSON.parse(stdout) as { seconds: number; megabytes: number; parameters: number; groups: number };
    });
    const best = runs.reduce((a, b) => (a.seconds < b.seconds ? a : b));
    const memory = Math.max(...runs.map((r) => r.megabytes));
    console.log(
      `\ninspect of a model of ${(bytes / 1e9).toFixed(2)} GB (${best.parameters} parameters, ${best.groups} groups), weights inside the file:`,
    );
    console.log(
      `  ${runs.map((r) => r.seconds.toFixed(2)).join(', ')} s (required: < ${MOST_SECONDS}), ${memory.toFixed(0)} MB resident (required: < ${MOST_MEGABYTES})`,
    );
    const missed = best.seconds >= MOST_SECONDS || memory >= MOST_MEGABYTES;
    console.log(missed ? '  requirement missed' : '  requirement met');
    process.exitCode = missed ? 1 : 0;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const at = process.argv.indexOf('--child');
if (at >= 0) await child(process.argv[at + 1]);
else parent();

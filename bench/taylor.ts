/**
 * Derivatives of every sample's loss by the gates of all groups, in one backward pass, against a forward pass of the
 * model: same batch, same runtime, in turns: `npm run bench taylor`. Times are the least of many runs on one thread,
 * counted in processor time: what waiting for the processor costs on a busy machine is not in them. Exits with 1 when a
 * backward pass with its forward part takes more than three times as long as a forward pass.
 */
import { makeDataset } from '../src/evaluation/data/dataset.ts';
import { openDataset, type Dataset } from '../src/evaluation/data/index.ts';
import { openSampleLoss } from '../src/evaluation/gradients/index.ts';
import { batchedGraph } from '../src/evaluation/gradients/gradient-graph.ts';
import { readOutput } from '../src/evaluation/metrics/index.ts';
import type { OutputReading } from '../src/evaluation/types.ts';
import { loadModel } from '../src/graph/load.ts';
import { Rng } from '../src/math/random.ts';
import { standardNormal } from '../src/math/normal.ts';
import { createSession } from '../src/runtime/session.ts';
import { analyseStructure } from '../src/units/analyse.ts';
import type { Structure } from '../src/units/types.ts';
import { sampleShapes } from '../src/evaluation/coalitions/samples.ts';
import { resnet18 } from './resnet18.ts';

const MOST = 3;
/** Turns of either side: at least so many, and so many seconds of them. */
const ROUNDS = 5;
const SECONDS = 4;
/** One thread, so that processor time is the time of a run that nothing interrupts. */
const SESSION = { threads: 1 };

interface Case {
  name: string;
  structure: Structure;
  data: Dataset;
  reading: OutputReading;
  rows: number;
}

async function example(name: string): Promise<Case> {
  const model = loadModel(`examples/${name}/model.onnx`);
  const data = await openDataset(model, { path: `examples/${name}/calib.npz`, seed: 0 });
  return { name, structure: analyseStructure(model), data, reading: await readOutput(model, data), rows: 256 };
}

/** Random images: the time does not depend on them. */
function resnet(): Case {
  const structure = analyseStructure(resnet18());
  const rows = 4;
  const sampleShape = [3, 224, 224];
  const rng = Rng.from(1);
  const image = Float32Array.from({ length: rows * 3 * 224 * 224 }, () => standardNormal(rng));
  const data = makeDataset({
    path: null,
    samples: rows,
    inputs: [{ name: 'image', type: 'float32', kind: 'rows', sampleShape, data: image, dataType: 'float32' }],
    labels: { values: Int32Array.from({ length: rows }, () => rng.int(1000)), perSample: 1, classes: 1000 },
    fingerprint: 'random images',
    synthetic: true,
    warnings: [],
    batchSize: null,
  });
  const output = structure.model.graph.outputs[0].name;
  return { name: 'ResNet-18', structure, data, reading: { output, reading: 'logits', classAxis: 1 }, rows };
}

/** Least seconds of processor time of a run, forward and backward in turns. */
async function measure({ structure, data, reading, rows }: Case) {
  const ids = structure.groups.filter((g) => g.prunable && g.kind !== 'block').map((g) => g.id);
  const loss = await openSampleLoss(structure, data, { loss: 'cross-entropy', reading, device: 'cpu' });
  const { graph } = batchedGraph(structure, ids, loss, sampleShapes(data));
  const forward = await createSession(structure.model, SESSION);
  const backward = await createSession(graph!.model, SESSION);
  const samples = Array.from({ length: rows }, (_, i) => i);
  const feeds = { ...data.feeds(samples), ...loss.feeds(samples) };
  const times = { forward: Infinity, backward: Infinity };
  const timed = async (what: keyof typeof times, run: () => Promise<unknown>): Promise<void> => {
    const started = process.cpuUsage();
    await run();
    const { user, system } = process.cpuUsage(started);
    times[what] = Math.min(times[what], (user + system) / 1e6);
  };
  const end = performance.now() + 1000 * SECONDS;
  for (let round = 0; round < ROUNDS || performance.now() < end; round++) {
    await timed('forward', () => forward.run(feeds, [reading.output]));
    await timed('backward', () =>
      backward.run(
        feeds,
        graph!.parts.map((p) => p.output),
      ),
    );
  }
  await forward.release();
  await backward.release();
  return { ...times, groups: ids.length };
}

const cases = [await example('lenet5'), await example('digits'), resnet()];
console.log(`${'model'.padEnd(10)}  groups   rows   forward  with backward   ratio`);
let missed = false;
for (const c of cases) {
  const { forward, backward, groups } = await measure(c);
  const ratio = backward / forward;
  missed ||= ratio > MOST;
  const ms = (seconds: number, width: number) => `${(1000 * seconds).toFixed(2)} ms`.padStart(width);
  console.log(
    `${c.name.padEnd(10)}  ${String(groups).padStart(6)} ${String(c.rows).padStart(6)} ${ms(forward, 12)} ${ms(backward, 12)} ${ratio.toFixed(2).padStart(7)}${ratio > MOST ? '  too slow' : ''}`,
  );
}
process.exitCode = missed ? 1 : 0;

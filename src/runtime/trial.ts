import type { DeviceName } from '../formats.ts';
import { Graph, type Model } from '../graph/ir.ts';
import { DataType } from '../onnx/data-type.ts';
import { Tensor } from '../onnx/tensor.ts';
import { float32Tensor, type HostTensor, toFloat32 } from './host-tensor.ts';
import { createSession, type Session } from './session.ts';

/** What came of running a small network on a device. */
export type Trial =
  | { works: false; reason: string }
  /** Largest difference to the CPU's answer relative to its largest number; milliseconds per run. */
  | { works: true; difference: number; ms: number };

/** Half-precision accumulation and TF32 are within this. */
const TOLERANCE = 2e-2;

interface Size {
  rows: number;
  channels: number;
  pixels: number;
}

export const SMALL: Size = { rows: 2, channels: 8, pixels: 8 };
/** About a gigaflop: what a device needs to be worth its transfers. */
export const LARGE: Size = { rows: 32, channels: 64, pixels: 28 };

/** A convolution, an activation and a matrix product: what most models spend their time in. */
export function trialModel({ channels }: Size): Model {
  const graph = new Graph('trial');
  const wave = (n: number, scale: number): Float32Array =>
    Float32Array.from({ length: n }, (_, i) => Math.sin(i * 12.9898) * scale);
  const x = graph.addInput('x', { kind: 'tensor', elemType: DataType.FLOAT, shape: ['n', channels, 'h', 'w'] });
  const kernel = [channels, channels, 3, 3];
  const w1 = graph.addInitializer('w1', Tensor.fromFloat32('w1', kernel, wave(channels * channels * 9, 0.1)));
  const w2 = graph.addInitializer('w2', Tensor.fromFloat32('w2', [channels, 10], wave(channels * 10, 0.1)));
  const conv = graph.addNode('Conv', [x, w1], ['conv']).setInts('pads', [1, 1, 1, 1]);
  const relu = graph.addNode('Relu', [conv.outputs[0]], ['relu']);
  const pool = graph.addNode('GlobalAveragePool', [relu.outputs[0]], ['pool']);
  const flat = graph.addNode('Flatten', [pool.outputs[0]], ['flat']);
  const head = graph.addNode('MatMul', [flat.outputs[0], w2], ['y']);
  const y = head.outputs[0]!;
  y.type = { kind: 'tensor', elemType: DataType.FLOAT, shape: ['n', 10] };
  graph.outputs.push(y);
  return { irVersion: 8, opsets: new Map([['', 17]]), producer: 'secateur', metadata: new Map(), graph, functions: [] };
}

function trialFeeds({ rows, channels, pixels }: Size): Record<string, HostTensor> {
  const dims = [rows, channels, pixels, pixels];
  const data = Float32Array.from({ length: rows * channels * pixels * pixels }, (_, i) => Math.cos(i * 0.37));
  return { x: float32Tensor(dims, data) };
}

/** Runs the network on a device and compares it with the CPU. Never throws. */
export async function tryDevice(device: DeviceName, size: Size): Promise<Trial> {
  let session: Session | undefined;
  let cpu: Session | undefined;
  try {
    const model = trialModel(size);
    const feeds = trialFeeds(size);
    session = await createSession(model, { device });
    cpu = await createSession(model);
    const mine = toFloat32((await session.run(feeds)).y);
    const right = toFloat32((await cpu.run(feeds)).y);
    const largest = right.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    const difference = mine.reduce((m, v, i) => Math.max(m, Math.abs(v - right[i])), 0) / largest;
    if (!(difference <= TOLERANCE))
      return { works: false, reason: `it computes wrong numbers (${(100 * difference).toFixed(0)} % off)` };
    return { works: true, difference, ms: await fastest(session, feeds) };
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return {
      works: false,
      reason: message.replace(/^onnxruntime does not run the model( on \w+)?: /, '').replace(/\.$/, ''),
    };
  } finally {
    await session?.release();
    await cpu?.release();
  }
}

/** The fastest of three runs. */
async function fastest(session: Session, feeds: Record<string, HostTensor>): Promise<number> {
  let best = Infinity;
  for (let i = 0; i < 3; i++) {
    const start = performance.now();
    await session.run(feeds);
    best = Math.min(best, performance.now() - start);
  }
  return best;
}

import type { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { SecateurError } from '../errors.ts';
import type { DeviceName } from '../formats.ts';
import { Graph, type Model } from '../graph/ir.ts';
import type { DataType } from '../onnx/data-type.ts';
import { serializeModel } from '../graph/save.ts';
import { elemTypeOfHost, isHostType, type HostTensor, type HostType, type TypedArray } from './host-tensor.ts';
import type { OrtModule } from './onnxruntime.ts';

/**
 * A tensor that stays where a session computed it, so that it can be fed again without a way through JavaScript: in the
 * memory of the device, or in the host's where the runtime computes there or cannot leave it elsewhere.
 */
export interface KeptTensor {
  readonly type: HostType;
  readonly dims: readonly number[];
  /** Whether it lies in memory that only the device reads. */
  readonly onDevice: boolean;
  /** A copy in the memory of JavaScript. @throws SecateurError 'runtime', also after `dispose` */
  read(): Promise<HostTensor>;
  /** Frees its memory. Safe to call twice. */
  dispose(): void;
}

/** Devices whose memory can hold outputs between runs. */
export function keepsOutputs(device: DeviceName): boolean {
  return device === 'webgpu';
}

/** A result of the runtime as a KeptTensor. */
export class Kept implements KeptTensor {
  readonly type: HostType;
  readonly dims: readonly number[];
  private tensor: OrtTensor | null;
  private readonly reader: Reader;

  constructor(name: string, tensor: OrtTensor, reader: Reader) {
    if (!isHostType(tensor.type))
      throw new SecateurError('unsupported', `The output ${name} is not a tensor of numbers.`);
    this.type = tensor.type;
    this.dims = [...tensor.dims];
    this.tensor = tensor;
    this.reader = reader;
  }

  get onDevice(): boolean {
    return this.native.location !== 'cpu';
  }
  /** The runtime's tensor. */
  get native(): OrtTensor {
    if (!this.tensor) throw new SecateurError('runtime', 'The tensor was already disposed of.');
    return this.tensor;
  }
  async read(): Promise<HostTensor> {
    const { type, dims, data } = await this.view();
    return { type, dims, data: data.slice() };
  }
  /** As `read`, but without a copy where the numbers lie in the host's memory. */
  async view(): Promise<HostTensor> {
    const native = this.onDevice ? await this.reader.fetch(this.native) : this.native;
    return { type: this.type, dims: [...this.dims], data: hostData(this.type, native.data) };
  }
  /** Gives the runtime's tensor away: this one is gone then, as after `dispose`. */
  take(): OrtTensor {
    const native = this.native;
    this.tensor = null;
    return native;
  }
  dispose(): void {
    this.tensor?.dispose();
    this.tensor = null;
  }
}

/** float16 is Uint16Array here, and Float16Array where JavaScript has it. */
function hostData(type: HostType, data: unknown): TypedArray {
  if (type !== 'float16' || data instanceof Uint16Array) return data as TypedArray;
  const half = data as Uint16Array;
  return new Uint16Array(half.buffer, half.byteOffset, half.length);
}

/**
 * Brings tensors from a device by running them through an Identity: asking the binding for their data ends the process
 * (onnxruntime-node 1.30).
 */
export class Reader {
  private readonly ort: OrtModule;
  private readonly settings: InferenceSession.SessionOptions;
  private readonly sessions = new Map<string, Promise<InferenceSession>>();

  constructor(ort: OrtModule, settings: InferenceSession.SessionOptions) {
    this.ort = ort;
    this.settings = settings;
  }

  async fetch(tensor: OrtTensor): Promise<OrtTensor> {
    let session = this.sessions.get(tensor.type);
    if (!session) {
      const model = serializeModel(identityModel(elemTypeOfHost(tensor.type as HostType)));
      session = this.ort.InferenceSession.create(model, this.settings);
      this.sessions.set(tensor.type, session);
    }
    return (await (await session).run({ x: tensor })).y as OrtTensor;
  }

  async release(): Promise<void> {
    for (const session of this.sessions.values()) await (await session).release();
    this.sessions.clear();
  }
}

function identityModel(elemType: DataType): Model {
  const graph = new Graph('identity');
  const x = graph.addInput('x', { kind: 'tensor', elemType });
  const y = graph.addNode('Identity', [x], ['y']).outputs[0]!;
  y.type = { kind: 'tensor', elemType };
  graph.outputs.push(y);
  return { irVersion: 8, opsets: new Map([['', 17]]), producer: 'secateur', metadata: new Map(), graph, functions: [] };
}

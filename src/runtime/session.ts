import type { InferenceSession } from 'onnxruntime-node';
import { SecateurError } from '../errors.ts';
import type { DeviceName } from '../formats.ts';
import type { Model } from '../graph/ir.ts';
import { prepareModel } from './model-bytes.ts';
import { type HostTensor, type TypedArray, isHostType } from './host-tensor.ts';
import { loadOnnxRuntime, type OrtModule, runtimeError } from './onnxruntime.ts';

export type { HostTensor, HostType, TypedArray } from './host-tensor.ts';

export interface SessionOptions {
  /** Where it runs; ops that the device lacks run on the CPU. Default 'cpu'. */
  device?: DeviceName;
  /** Graph optimisations of the runtime (fusion, constant folding, layout). Default true. */
  optimize?: boolean;
  /** Threads within one op; default: the runtime's choice (physical cores). */
  threads?: number;
  /** Keep freed memory for the next run (default true). False for sessions that live long and run rarely. */
  arena?: boolean;
  /** Symbolic dims fixed to numbers, by their names in the model. */
  dims?: Record<string, number>;
}

/** One input or output of a session. `type` is a HostType, or 'string' or 'other' for what cannot cross the border. */
export interface SessionPort {
  name: string;
  type: string;
  /** A string is a symbolic dim ('' when it has no name); null when the rank is unknown. */
  shape: (number | string)[] | null;
}

/** A model ready to run. Runs of one session are made one after the other. */
export interface Session {
  readonly device: DeviceName;
  readonly inputs: readonly SessionPort[];
  readonly outputs: readonly SessionPort[];
  /**
   * One run. `fetches` names the outputs that are wanted (default: every numeric tensor). Feeds that the session has
   * no input for are left aside.
   * @throws SecateurError 'runtime'
   */
  run(feeds: Readonly<Record<string, HostTensor>>, fetches?: readonly string[]): Promise<Record<string, HostTensor>>;
  /** Frees the session's memory; later runs fail. Safe to call twice. */
  release(): Promise<void>;
}

/**
 * Makes a session from a file's path (external data is looked for in its folder), from the bytes of a model without
 * external data, or from a model in memory.
 * @throws SecateurError 'runtime' with the runtime's reason when it does not accept the model or the device
 */
export async function createSession(
  model: Model | Uint8Array | string,
  options: SessionOptions = {},
): Promise<Session> {
  const ort = await loadOnnxRuntime();
  const device = options.device ?? 'cpu';
  const settings = sessionSettings(device, options);
  let native: InferenceSession;
  try {
    if (typeof model === 'string') native = await ort.InferenceSession.create(model, settings);
    else if (model instanceof Uint8Array) native = await ort.InferenceSession.create(model, settings);
    else {
      const { bytes, externalData } = prepareModel(model);
      native = await ort.InferenceSession.create(bytes, externalData.length ? { ...settings, externalData } : settings);
    }
  } catch (thrown) {
    throw runtimeError(thrown, `onnxruntime does not run ${describe(model)}${device === 'cpu' ? '' : ` on ${device}`}`);
  }
  return new OrtSession(ort, native, device);
}

function describe(model: Model | Uint8Array | string): string {
  if (typeof model === 'string') return model;
  return !(model instanceof Uint8Array) && model.path ? model.path : 'the model';
}

function sessionSettings(device: DeviceName, options: SessionOptions): InferenceSession.SessionOptions {
  return {
    executionProviders: device === 'cpu' ? ['cpu'] : [device, 'cpu'],
    graphOptimizationLevel: options.optimize === false ? 'disabled' : 'all',
    logSeverityLevel: 4,
    ...(options.threads ? { intraOpNumThreads: options.threads } : {}),
    ...(options.arena === false ? { enableCpuMemArena: false, enableMemPattern: false } : {}),
    ...(options.dims ? { freeDimensionOverrides: options.dims } : {}),
  };
}

function ports(metadata: readonly InferenceSession.ValueMetadata[]): SessionPort[] {
  return metadata.map((m) =>
    m.isTensor
      ? { name: m.name, type: m.type, shape: m.shape.map((d) => (typeof d === 'number' ? d : (d ?? ''))) }
      : { name: m.name, type: 'other', shape: null },
  );
}

class OrtSession implements Session {
  readonly inputs: readonly SessionPort[];
  readonly outputs: readonly SessionPort[];
  private readonly numericOutputs: string[];
  private released = false;
  /** The last run: the binding is synchronous, but a release must wait for what was queued. */
  private tail: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly ort: OrtModule,
    private readonly native: InferenceSession,
    readonly device: DeviceName,
  ) {
    this.inputs = ports(native.inputMetadata);
    this.outputs = ports(native.outputMetadata);
    this.numericOutputs = this.outputs.filter((o) => isHostType(o.type)).map((o) => o.name);
  }

  async run(
    feeds: Readonly<Record<string, HostTensor>>,
    fetches: readonly string[] = this.numericOutputs,
  ): Promise<Record<string, HostTensor>> {
    if (this.released) throw new SecateurError('runtime', 'The session was already released.');
    this.check(feeds, fetches);
    const values: Record<string, InstanceType<OrtModule['Tensor']>> = {};
    for (const { name } of this.inputs) values[name] = this.toNative(feeds[name]);
    const running = this.native.run(values, fetches);
    this.tail = running.catch(() => undefined);
    try {
      const results = await running;
      const out: Record<string, HostTensor> = {};
      for (const name of fetches) out[name] = await fromNative(name, results[name]);
      for (const value of Object.values(results)) (value as { dispose?: () => void }).dispose?.();
      return out;
    } catch (thrown) {
      throw runtimeError(thrown, 'Running the model failed');
    }
  }

  async release(): Promise<void> {
    if (this.released) return;
    this.released = true;
    await this.tail;
    await this.native.release();
  }

  private check(feeds: Readonly<Record<string, HostTensor>>, fetches: readonly string[]): void {
    const known = new Set(this.outputs.map((o) => o.name));
    for (const name of fetches)
      if (!known.has(name)) throw new SecateurError('runtime', `The model has no output named ${name}.`);
    for (const input of this.inputs) {
      const feed = feeds[input.name];
      if (!feed) throw new SecateurError('runtime', `The model's input ${input.name} was not given.`);
      if (feed.type !== input.type)
        throw new SecateurError(
          'runtime',
          `The model's input ${input.name} is ${input.type}, but ${feed.type} was given.`,
        );
    }
  }

  private toNative(tensor: HostTensor): InstanceType<OrtModule['Tensor']> {
    let data: unknown = tensor.data;
    const Half = (globalThis as { Float16Array?: new (b: ArrayBufferLike, o: number, n: number) => unknown })
      .Float16Array;
    // Newer engines have Float16Array, and then the binding insists on it.
    if (tensor.type === 'float16' && Half)
      data = new Half(tensor.data.buffer, tensor.data.byteOffset, tensor.data.length);
    return new this.ort.Tensor(tensor.type, data as Float32Array, tensor.dims);
  }
}

async function fromNative(name: string, value: unknown): Promise<HostTensor> {
  const tensor = value as {
    type: string;
    dims: readonly number[];
    getData?: () => Promise<unknown>;
    data: unknown;
    location?: string;
  };
  if (!isHostType(tensor.type))
    throw new SecateurError('unsupported', `The output ${name} is not a tensor of numbers.`);
  let data = tensor.location && tensor.location !== 'cpu' ? await tensor.getData!() : tensor.data;
  if (tensor.type === 'float16' && !(data instanceof Uint16Array)) {
    const half = data as Uint16Array;
    data = new Uint16Array(half.buffer, half.byteOffset, half.length);
  }
  return { type: tensor.type, dims: [...tensor.dims], data: data as TypedArray };
}

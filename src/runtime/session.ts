import type { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { SecateurError } from '../errors.ts';
import type { DeviceName } from '../formats.ts';
import type { Model } from '../graph/ir.ts';
import { prepareModel } from './model-bytes.ts';
import { failingNodes } from './failing-nodes.ts';
import { type HostTensor, isHostType } from './host-tensor.ts';
import { Kept, keepsOutputs, Reader, type KeptTensor } from './kept-tensor.ts';
import { loadOnnxRuntime, type OrtModule, runtimeError } from './onnxruntime.ts';

export type { HostTensor, HostType, TypedArray } from './host-tensor.ts';
export type { KeptTensor } from './kept-tensor.ts';

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
  /** Outputs that `runKept` leaves in the device's memory where the runtime can do so (WebGPU). */
  keep?: readonly string[];
}

/** What a session takes for an input. */
export type Feed = HostTensor | KeptTensor;

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
  run(feeds: Readonly<Record<string, Feed>>, fetches?: readonly string[]): Promise<Record<string, HostTensor>>;
  /**
   * As `run`, but the results stay where they are (those of the option `keep` on the device) and can be fed to this
   * session again as they are. The caller disposes of them.
   * @param spare results of earlier runs, by output and of its shape, that nobody needs any more: their memory is used
   * again, or freed
   */
  runKept(
    feeds: Readonly<Record<string, Feed>>,
    fetches: readonly string[],
    spare?: Readonly<Record<string, KeptTensor>>,
  ): Promise<Record<string, KeptTensor>>;
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
  const inMemory = typeof model !== 'string' && !(model instanceof Uint8Array);
  const settings = sessionSettings(device, options, inMemory ? failingNodes(model, device) : []);
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
  const bound = !!options.keep?.length && keepsOutputs(device);
  return new OrtSession(ort, native, device, bound, new Reader(ort, sessionSettings(device, {})));
}

function describe(model: Model | Uint8Array | string): string {
  if (typeof model === 'string') return model;
  return !(model instanceof Uint8Array) && model.path ? model.path : 'the model';
}

/** @param onCpu nodes that are kept from the device */
function sessionSettings(
  device: DeviceName,
  options: SessionOptions,
  onCpu: readonly string[] = [],
): InferenceSession.SessionOptions {
  const first = onCpu.length > 0 ? { name: device, forceCpuNodeNames: onCpu } : device;
  return {
    executionProviders: device === 'cpu' ? ['cpu'] : [first, 'cpu'],
    graphOptimizationLevel: options.optimize === false ? 'disabled' : 'all',
    logSeverityLevel: 4,
    ...(options.threads ? { intraOpNumThreads: options.threads } : {}),
    ...(options.arena === false ? { enableCpuMemArena: false, enableMemPattern: false } : {}),
    ...(options.dims ? { freeDimensionOverrides: options.dims } : {}),
    ...(options.keep && keepsOutputs(device)
      ? { preferredOutputLocation: Object.fromEntries(options.keep.map((name) => [name, 'gpu-buffer'])) }
      : {}),
  };
}

function ports(metadata: readonly InferenceSession.ValueMetadata[]): SessionPort[] {
  return metadata.map((m) =>
    m.isTensor
      ? { name: m.name, type: m.type, shape: m.shape.map((d) => (typeof d === 'number' ? d : (d ?? ''))) }
      : { name: m.name, type: 'other', shape: null },
  );
}

const RUN_FAILED = 'Running the model failed';

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
    /** Outputs have their places: the runtime then gives all of them or none (1.30). */
    private readonly bound: boolean,
    private readonly reader: Reader,
  ) {
    this.inputs = ports(native.inputMetadata);
    this.outputs = ports(native.outputMetadata);
    this.numericOutputs = this.outputs.filter((o) => isHostType(o.type)).map((o) => o.name);
  }

  async run(
    feeds: Readonly<Record<string, Feed>>,
    fetches: readonly string[] = this.numericOutputs,
  ): Promise<Record<string, HostTensor>> {
    const results = await this.runNative(feeds, fetches);
    try {
      const out: Record<string, HostTensor> = {};
      for (const name of fetches) out[name] = await results[name].view();
      for (const result of Object.values(results)) result.dispose();
      return out;
    } catch (thrown) {
      throw runtimeError(thrown, RUN_FAILED);
    }
  }

  async runKept(
    feeds: Readonly<Record<string, Feed>>,
    fetches: readonly string[],
    spare: Readonly<Record<string, KeptTensor>> = {},
  ): Promise<Record<string, KeptTensor>> {
    return this.runNative(feeds, fetches, spare);
  }

  async release(): Promise<void> {
    if (this.released) return;
    this.released = true;
    await this.tail;
    await this.native.release();
    await this.reader.release();
  }

  private async runNative(
    feeds: Readonly<Record<string, Feed>>,
    fetches: readonly string[],
    spare: Readonly<Record<string, KeptTensor>> = {},
  ): Promise<Record<string, Kept>> {
    if (this.released) throw new SecateurError('runtime', 'The session was already released.');
    this.check(feeds, fetches);
    const values: Record<string, OrtTensor> = {};
    for (const { name } of this.inputs) values[name] = this.toNative(feeds[name]);
    const asked = this.bound ? this.outputs.map((o) => o.name) : fetches;
    const running = this.native.run(
      values,
      Object.fromEntries(asked.map((name) => [name, room(spare[name], this.bound)])),
    );
    this.tail = running.catch(() => undefined);
    try {
      const results = await running;
      for (const name of asked) if (!fetches.includes(name)) (results[name] as OrtTensor).dispose();
      return Object.fromEntries(fetches.map((name) => [name, new Kept(name, results[name] as OrtTensor, this.reader)]));
    } catch (thrown) {
      throw runtimeError(thrown, RUN_FAILED);
    }
  }

  private check(feeds: Readonly<Record<string, Feed>>, fetches: readonly string[]): void {
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

  private toNative(tensor: Feed): OrtTensor {
    if (tensor instanceof Kept) return tensor.native;
    const { type, dims } = tensor;
    let data: unknown = (tensor as HostTensor).data;
    const Half = (globalThis as { Float16Array?: new (b: ArrayBufferLike, o: number, n: number) => unknown })
      .Float16Array;
    // Newer engines have Float16Array, and then the binding insists on it.
    if (type === 'float16' && Half) {
      const bits = data as Uint16Array;
      data = new Half(bits.buffer, bits.byteOffset, bits.length);
    }
    return new this.ort.Tensor(type, data as Float32Array, dims);
  }
}

/** Memory for an output: that of a tensor in the host's memory that nobody needs. Where it cannot be used it is freed. */
function room(spare: KeptTensor | undefined, bound: boolean): OrtTensor | null {
  if (!(spare instanceof Kept)) return null;
  if (!spare.onDevice && !bound) return spare.take();
  spare.dispose();
  return null;
}

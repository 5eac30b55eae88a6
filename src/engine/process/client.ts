/**
 * Starts the engine as a child process and speaks to it. Used by the extension host and by the command line; neither
 * ever loads onnxruntime itself, so that a native crash or an out-of-memory kill takes only the engine along.
 */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { ClientMessage, Progress, ServerMessage } from '../../protocol.ts';
import { SecateurError } from '../../errors.ts';
import type { EngineMethod, ParamsOf, ResultOf } from './wire.ts';
import { cancelledError, fromWireError } from './wire.ts';

/** Name of the bundled engine in `dist/`. */
export const ENGINE_FILE = 'engine.cjs';

export interface EngineOptions {
  /** Path of the bundled engine: ENGINE_FILE in the folder of the bundle that starts it. */
  entry: string;
  /** Takes each line that the engine or a native library prints. */
  log?: (line: string) => void;
  /** Additional environment variables. */
  env?: Record<string, string>;
}

export interface RequestOptions {
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
}

export interface EngineExit {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** True when the client asked for it. */
  expected: boolean;
  /** A sentence for people. */
  message: string;
}

/**
 * A cancelled job answers within a second. One that does not is stuck in a native call: its caller is freed after this
 * time with 'cancelled'. Ranking returns what it has computed, which is worth a longer wait.
 */
const CANCEL_GRACE_MS = 3000;
const CANCEL_GRACE_RANK_MS = 15_000;
/** After `dispose` the engine may finish its cleaning up so long before it is killed. */
const DISPOSE_GRACE_MS = 3000;

interface Pending {
  method: EngineMethod;
  resolve: (result: never) => void;
  reject: (error: SecateurError) => void;
  onProgress: ((progress: Progress) => void) | undefined;
  settle: () => void;
}

export class EngineClient {
  private child: ChildProcess | null = null;
  private readonly pending = new Map<number, Pending>();
  private readonly exitListeners = new Set<(exit: EngineExit) => void>();
  /** Children that were asked to end. */
  private readonly stopping = new WeakSet<ChildProcess>();
  private nextId = 1;
  private lastExit: EngineExit | null = null;
  private disposed = false;
  private readonly options: EngineOptions;

  constructor(options: EngineOptions) {
    this.options = options;
  }

  /** Process id while the engine runs. */
  get pid(): number | undefined {
    return this.child?.pid;
  }

  get running(): boolean {
    return this.child !== null;
  }

  /** How the engine ended, if it ended by itself; null while it runs or before it was started. */
  get death(): EngineExit | null {
    return this.lastExit;
  }

  /** Called whenever the engine process ends, expected or not. @returns function that removes the listener */
  onExit(listener: (exit: EngineExit) => void): () => void {
    this.exitListeners.add(listener);
    return () => this.exitListeners.delete(listener);
  }

  /**
   * Runs a job. The engine is started by the first request; once it has died on its own, requests fail with code
   * 'engine' until `restart` is called, so that a model that kills it does not do so again and again.
   * Aborting `signal` cancels: rank then resolves with what it has, other methods reject with code 'cancelled'.
   * @throws SecateurError as sent by the engine; 'engine' when the process ends before it has answered
   */
  request<M extends EngineMethod>(method: M, params: ParamsOf<M>, options: RequestOptions = {}): Promise<ResultOf<M>> {
    const { signal, onProgress } = options;
    return new Promise<ResultOf<M>>((resolve, reject) => {
      if (signal?.aborted) return reject(cancelledError());
      const child = this.ensureStarted();
      const id = this.nextId++;
      let grace: NodeJS.Timeout | undefined;
      const cancel = (): void => {
        this.post(child, { kind: 'cancel', id });
        const wait = method === 'rank' ? CANCEL_GRACE_RANK_MS : CANCEL_GRACE_MS;
        grace = setTimeout(() => this.take(id)?.reject(cancelledError()), wait);
      };
      const settle = (): void => {
        clearTimeout(grace);
        signal?.removeEventListener('abort', cancel);
      };
      this.pending.set(id, { method, resolve, reject, onProgress, settle });
      signal?.addEventListener('abort', cancel, { once: true });
      this.post(child, { kind: 'request', id, method, params });
    });
  }

  /** Ends the present engine, if any, and starts a new one. Jobs of the old one are rejected with code 'engine'. */
  async restart(): Promise<void> {
    if (this.child) await this.stop(this.child);
    this.lastExit = null;
    this.ensureStarted();
  }

  /** Ends the engine: gracefully first, by force after a few seconds. Resolves when the process is gone. */
  async dispose(): Promise<void> {
    this.disposed = true;
    if (this.child) await this.stop(this.child);
    this.exitListeners.clear();
  }

  private ensureStarted(): ChildProcess {
    if (this.disposed) throw new SecateurError('engine', 'The engine has been shut down.');
    if (this.lastExit) throw new SecateurError('engine', this.lastExit.message, 'Restart the engine and try again.');
    return (this.child ??= this.start());
  }

  private start(): ChildProcess {
    const { entry, log } = this.options;
    if (!existsSync(entry)) {
      throw new SecateurError(
        'engine',
        `The engine ${entry} is missing.`,
        'Build it with `npm run build`, or install Secateur again.',
      );
    }
    const child = fork(entry, [], {
      env: engineEnvironment(this.options.env),
      // None of the parent's: --inspect would fight for the same port, test runners add loaders.
      execArgv: [],
      serialization: 'advanced',
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    for (const stream of [child.stdout, child.stderr]) {
      if (stream) createInterface({ input: stream }).on('line', (line) => log?.(line));
    }
    child.on('message', (message: ServerMessage) => this.receive(message));
    child.once('error', (error) =>
      this.ended(child, null, null, `The engine process could not be started: ${error.message}.`),
    );
    child.once('exit', (code, signal) => this.ended(child, code, signal));
    return child;
  }

  private receive(message: ServerMessage): void {
    if (message.kind === 'progress') this.pending.get(message.id)?.onProgress?.(message.progress);
    else if (message.kind === 'result') this.take(message.id)?.resolve(message.result as never);
    else if (message.kind === 'error') this.take(message.id)?.reject(fromWireError(message.error));
  }

  private take(id: number): Pending | undefined {
    const pending = this.pending.get(id);
    this.pending.delete(id);
    pending?.settle();
    return pending;
  }

  private post(child: ChildProcess, message: ClientMessage): void {
    if (!child.connected) return;
    // A failure to write means that the process is going: its exit rejects what is pending.
    child.send(message, () => undefined);
  }

  private stop(child: ChildProcess): Promise<void> {
    this.stopping.add(child);
    return new Promise((resolve) => {
      const gone = (): void => {
        clearTimeout(force);
        resolve();
      };
      const force = setTimeout(() => child.kill('SIGKILL'), DISPOSE_GRACE_MS);
      if (child.exitCode !== null || child.signalCode !== null) return gone();
      child.once('exit', gone);
      if (child.connected) child.disconnect();
    });
  }

  private ended(child: ChildProcess, code: number | null, signal: NodeJS.Signals | null, sentence?: string): void {
    if (this.child !== child) return;
    this.child = null;
    const expected = this.stopping.has(child);
    const exit = { code, signal, expected, message: sentence ?? describeExit(code, signal, expected) };
    this.lastExit = expected ? null : exit;
    for (const id of [...this.pending.keys()]) {
      this.take(id)?.reject(
        new SecateurError('engine', exit.message, expected ? '' : 'Restart the engine and try again.'),
      );
    }
    for (const listener of [...this.exitListeners]) listener(exit);
  }
}

/** Starts nothing yet: the process is forked by the first request. */
export function startEngine(options: EngineOptions): EngineClient {
  return new EngineClient(options);
}

function engineEnvironment(extra: Record<string, string> = {}): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = { ...process.env, ...extra, ORT_DISABLE_TELEMETRY: '1' };
  // In the desktop editor `process.execPath` is Electron: this makes it behave as node.
  env.ELECTRON_RUN_AS_NODE = '1';
  // Left behind by the editor's debugger: they would make the engine wait for one.
  delete env.NODE_OPTIONS;
  delete env.VSCODE_INSPECTOR_OPTIONS;
  return env;
}

function describeExit(code: number | null, signal: NodeJS.Signals | null, expected: boolean): string {
  if (expected) return 'The engine was stopped.';
  if (signal === 'SIGKILL') return 'The engine process was killed, perhaps because memory ran out.';
  if (signal) return `The engine process crashed (${signal}).`;
  return `The engine process ended unexpectedly (exit code ${code}).`;
}

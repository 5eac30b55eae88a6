import type { ClientMessage, HostEvent, Progress, ServerMessage, WebviewMethods, WireError } from '../src/protocol.ts';

/** What VS Code hands to a webview, once. */
export interface VsCodeApi {
  postMessage(message: unknown): void;
  getState(): unknown;
  setState(state: unknown): void;
}

/** A request that was answered with an error. */
export class RequestError extends Error {
  readonly wire: WireError;
  constructor(wire: WireError) {
    super(wire.message);
    this.name = 'RequestError';
    this.wire = wire;
  }
}

export function wireError(thrown: unknown): WireError {
  if (thrown instanceof RequestError) return thrown.wire;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return { code: 'internal', message, hint: '' };
}

export interface RequestOptions {
  onProgress?: (progress: Progress) => void;
  /** Aborting asks the other side to cancel; what it answers then (a partial result or `cancelled`) is the outcome. */
  signal?: AbortSignal;
}

/** How long an answer to a cancelled request may take before it counts as `cancelled`. */
const CANCEL_PATIENCE = 5000;

interface Pending {
  resolve(result: unknown): void;
  reject(error: RequestError): void;
  onProgress?: (progress: Progress) => void;
}

/** Typed requests to the extension host over postMessage. */
export class Rpc {
  private readonly api: VsCodeApi;
  private readonly pending = new Map<number, Pending>();
  private readonly onEvent: (event: HostEvent) => void;
  private nextId = 1;

  constructor(api: VsCodeApi, onEvent: (event: HostEvent) => void) {
    this.api = api;
    this.onEvent = onEvent;
    window.addEventListener('message', (e: MessageEvent<ServerMessage>) => this.receive(e.data));
  }

  request<M extends keyof WebviewMethods>(
    method: M,
    params: WebviewMethods[M]['params'],
    options: RequestOptions = {},
  ): Promise<WebviewMethods[M]['result']> {
    const id = this.nextId++;
    const { signal, onProgress } = options;
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(cancelled());
      let timer: ReturnType<typeof setTimeout> | undefined;
      const onAbort = (): void => {
        this.post({ kind: 'cancel', id });
        timer = setTimeout(() => {
          if (this.pending.delete(id)) reject(cancelled());
        }, CANCEL_PATIENCE);
      };
      const done = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
      };
      this.pending.set(id, {
        onProgress,
        resolve: (result) => {
          done();
          resolve(result as WebviewMethods[M]['result']);
        },
        reject: (error) => {
          done();
          reject(error);
        },
      });
      signal?.addEventListener('abort', onAbort, { once: true });
      this.post({ kind: 'request', id, method, params });
    });
  }

  private post(message: ClientMessage): void {
    this.api.postMessage(message);
  }

  private receive(message: ServerMessage): void {
    if (!message || typeof message !== 'object') return;
    if (message.kind === 'event') return this.onEvent(message.event);
    const waiting = this.pending.get(message.id);
    if (!waiting) return;
    if (message.kind === 'progress') return waiting.onProgress?.(message.progress);
    if (message.kind !== 'result' && message.kind !== 'error') return;
    this.pending.delete(message.id);
    if (message.kind === 'result') waiting.resolve(message.result);
    else waiting.reject(new RequestError(message.error));
  }
}

function cancelled(): RequestError {
  return new RequestError({ code: 'cancelled', message: 'Cancelled.', hint: '' });
}

import type * as vscode from 'vscode';
import type { EngineMethod, ParamsOf } from '../engine/process/wire.ts';
import { cancelledError, toWireError } from '../engine/process/wire.ts';
import { SecateurError } from '../errors.ts';
import type { ClientMessage, HostMethods, ServerMessage } from '../protocol.ts';
import type { HostActions } from './host-actions.ts';
import type { ModelSession, View } from './model-session.ts';

/** Methods that are the engine's; `model` is filled in here, so that a page can only ever ask for its own model. */
const ENGINE_METHODS: Record<EngineMethod, true> = {
  inspect: true,
  'describe-data': true,
  evaluate: true,
  rank: true,
  features: true,
  plan: true,
  measure: true,
  prune: true,
  compare: true,
  devices: true,
};

type HostHandlers = {
  [M in keyof HostMethods]: (params: HostMethods[M]['params']) => Promise<HostMethods[M]['result']>;
};

/**
 * Answers the messages of one webview: its own methods here, the engine's by asking the session. Each `hello` begins a
 * new context, because VS Code throws the page away when its tab is hidden: answers to requests of an earlier page are
 * dropped, their lasting jobs go on.
 */
export class WebviewRouter {
  private readonly webview: vscode.Webview;
  private readonly session: ModelSession;
  private readonly handlers: HostHandlers;
  private readonly log: vscode.LogOutputChannel;
  private view: View | null = null;
  private requests = new Map<number, AbortController>();

  constructor(webview: vscode.Webview, session: ModelSession, actions: HostActions, log: vscode.LogOutputChannel) {
    this.webview = webview;
    this.session = session;
    this.log = log;
    this.handlers = {
      hello: () => this.hello(),
      'save-state': async ({ state }) => {
        await session.saveState(state);
        return null;
      },
      'stop-jobs': async () => {
        session.stopJobs();
        return null;
      },
      'pick-data': ({ kind }) => actions.pickData(session.uri, kind),
      'pick-export': ({ suggestion }) => actions.pickExport(session.uri, suggestion),
      'save-ranks': ({ ranks }) => actions.saveRanks(session.uri, ranks),
      'save-features': ({ features }) => actions.saveFeatures(session.uri, features),
      'save-plan': ({ plan }) => actions.savePlan(session.uri, plan),
      'open-beside': ({ path }) => actions.openBeside(path),
      reveal: ({ path }) => actions.reveal(path),
      copy: ({ text }) => actions.copy(text),
      'show-log': () => actions.showLog(),
      'restart-engine': () => actions.restartEngine(),
    };
  }

  async receive(message: ClientMessage): Promise<void> {
    if (message?.kind === 'cancel') return this.requests.get(message.id)?.abort();
    if (message?.kind !== 'request') return;
    const { id, method, params } = message;
    if (method === 'hello') this.leave();
    const requests = this.requests;
    const abort = new AbortController();
    requests.set(id, abort);
    // An answer is only for the page that asked.
    const post = (answer: ServerMessage): void => {
      if (requests === this.requests) void this.webview.postMessage(answer);
    };
    try {
      const result = await this.answer(method, params, abort.signal, (progress) =>
        post({ kind: 'progress', id, progress }),
      );
      post({ kind: 'result', id, result });
    } catch (thrown) {
      if (!(thrown instanceof SecateurError)) this.log.error(thrown instanceof Error ? thrown : String(thrown));
      post({ kind: 'error', id, error: toWireError(thrown) });
    } finally {
      requests.delete(id);
    }
  }

  /** The page is gone. */
  leave(): void {
    if (this.view) this.session.leave(this.view);
    this.view = null;
    this.requests = new Map();
  }

  private async hello(): Promise<HostMethods['hello']['result']> {
    const view: View = {
      event: (event) => {
        if (this.view === view) void this.webview.postMessage({ kind: 'event', event } satisfies ServerMessage);
      },
    };
    this.view = view;
    const result = await this.session.hello(view);
    // Hidden while the answer was made.
    if (this.view !== view) this.session.leave(view);
    return result;
  }

  private answer(
    method: string,
    params: unknown,
    signal: AbortSignal,
    onProgress: Parameters<ModelSession['run']>[4],
  ): Promise<unknown> {
    if (Object.hasOwn(this.handlers, method)) {
      const handler = this.handlers[method as keyof HostMethods] as (params: unknown) => Promise<unknown>;
      return handler(params);
    }
    if (!Object.hasOwn(ENGINE_METHODS, method)) {
      throw new SecateurError('internal', `The editor asked for ${method}, which nobody answers.`);
    }
    if (signal.aborted) throw cancelledError();
    const own = { ...(params as object), model: this.session.path } as ParamsOf<EngineMethod>;
    return this.session.run(method as EngineMethod, own, this.view, signal, onProgress);
  }
}

import * as vscode from 'vscode';
import type { EngineMethod, ParamsOf, ResultOf } from '../engine/process/wire.ts';
import type { EngineExit, RequestOptions } from '../engine/process/client.ts';
import { asSecateurError } from '../errors.ts';
import { EngineClient } from '../engine/process/client.ts';

const LONG: ReadonlySet<EngineMethod> = new Set<EngineMethod>(['rank', 'prune', 'compare', 'plan']);

/**
 * The one engine process of this window. Starts with the first request; tells the user once when it dies and offers
 * to start it again.
 */
export class EngineService implements vscode.Disposable {
  private readonly client: EngineClient;
  private readonly log: vscode.LogOutputChannel;
  private readonly died = new vscode.EventEmitter<EngineExit>();
  private readonly restarted = new vscode.EventEmitter<void>();
  /** The engine ended although nobody had asked it to. */
  readonly onDied = this.died.event;
  readonly onRestarted = this.restarted.event;

  /**
   * @param entry path of the bundled engine
   * @param cache folder where it may keep values of coalitions
   */
  constructor(entry: string, cache: string, log: vscode.LogOutputChannel) {
    this.log = log;
    this.client = new EngineClient({
      entry,
      env: { SECATEUR_CACHE: cache },
      log: (line) => log.info(`engine: ${line}`),
    });
    this.client.onExit((exit) => this.ended(exit));
  }

  /** Why the engine is not there, or null when it runs or has not been needed yet. */
  get death(): EngineExit | null {
    return this.client.death;
  }

  async request<M extends EngineMethod>(
    method: M,
    params: ParamsOf<M>,
    options: RequestOptions = {},
  ): Promise<ResultOf<M>> {
    const started = performance.now();
    const took = (): string => `${Math.round(performance.now() - started)} ms`;
    // What a person waits for is worth a line; the rest is for those who ask for it.
    const note = (line: string): void => (LONG.has(method) ? this.log.info(line) : this.log.debug(line));
    note(`${method} started`);
    try {
      const result = await this.client.request(method, params, options);
      const how = options.signal?.aborted ? 'stopped after' : 'done in';
      note(`${method} ${how} ${took()}, engine process ${this.client.pid}`);
      return result;
    } catch (error) {
      const { code, message } = asSecateurError(error);
      if (code === 'cancelled') note(`${method} cancelled after ${took()}`);
      else this.log.error(`${method} failed after ${took()}: ${message}`);
      throw error;
    }
  }

  async restart(): Promise<void> {
    await this.client.restart();
    this.log.info(`engine restarted, process ${this.client.pid}`);
    this.restarted.fire();
  }

  /** Ends the process; VS Code waits for the promise when it deactivates the extension. */
  async shutDown(): Promise<void> {
    await this.client.dispose();
  }

  dispose(): void {
    void this.client.dispose();
    this.died.dispose();
    this.restarted.dispose();
  }

  private ended(exit: EngineExit): void {
    if (exit.expected) return;
    this.log.error(exit.message);
    this.died.fire(exit);
    const restart = 'Restart Engine';
    const showLog = 'Show Log';
    void vscode.window
      .showErrorMessage(`Secateur: ${exit.message} The model and the editor are unharmed.`, restart, showLog)
      .then((choice) => {
        if (choice === showLog) this.log.show();
        // Meanwhile someone may have restarted it from the editor.
        if (choice === restart && this.client.death) return this.restart();
      });
  }
}

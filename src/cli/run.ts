/** Runs one command: the engine process, progress, Ctrl-C, and how failures end. */
import { fileURLToPath } from 'node:url';
import { asSecateurError, SecateurError } from '../errors.ts';
import type { ErrorCode } from '../errors.ts';
import { ENGINE_FILE, startEngine } from '../engine/process/client.ts';
import type { EngineMethod, ParamsOf, ResultOf } from '../engine/process/wire.ts';
import { cacheFolder } from './cache-folder.ts';
import { ProgressDisplay } from './progress.ts';

/** What a command works with. */
export interface Session {
  /** Runs a job in the engine, with progress on stderr. `stage` is put in front of the notes. */
  request<M extends EngineMethod>(method: M, params: ParamsOf<M>, stage?: string): Promise<ResultOf<M>>;
  /** Aborted by the first Ctrl-C. */
  signal: AbortSignal;
  /** One plain sentence on stderr. */
  note(sentence: string): void;
}

/** 2: the command was used wrongly or its input cannot be used; 1: the job failed or was cancelled. */
const BAD_INPUT: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['usage', 'bad-model', 'bad-data', 'unsupported', 'io']);

export function exitCodeOf(code: ErrorCode): 1 | 2 {
  return BAD_INPUT.has(code) ? 2 : 1;
}

/** Whatever was thrown, as one sentence on stderr; returns the exit code. Never a stack trace. */
export function reportFailure(thrown: unknown): 1 | 2 {
  const error = asSecateurError(thrown);
  process.stderr.write(`secateur: ${error.toLine().replace(/\s*\n\s*/g, ' ')}\n`);
  return exitCodeOf(error.code);
}

/**
 * Starts an engine, runs `work` with it and ends it. The first Ctrl-C cancels (jobs keep what they have, unfinished
 * files go); the second ends everything at once. Sets the exit code of the process.
 * @param cache whether values of coalitions are kept from run to run
 */
export async function runSession(work: (session: Session) => Promise<void>, cache = true): Promise<void> {
  const abort = new AbortController();
  const display = new ProgressDisplay();
  const note = (sentence: string): void => {
    display.clear();
    process.stderr.write(`${sentence}\n`);
  };
  const engineLog: string[] = [];
  const engine = startEngine({
    env: { SECATEUR_CACHE: cache ? cacheFolder() : '' },
    entry: process.env.SECATEUR_ENGINE ?? fileURLToPath(new URL(`./${ENGINE_FILE}`, import.meta.url)),
    log: (line) => {
      engineLog.push(line);
      if (process.env.SECATEUR_DEBUG) process.stderr.write(`engine: ${line}\n`);
    },
  });
  let interrupts = 0;
  const interrupt = (): void => {
    if (++interrupts === 1) {
      note('Cancelling; press Ctrl-C again to stop at once.');
      abort.abort();
      return;
    }
    if (engine.pid) process.kill(engine.pid, 'SIGKILL');
    process.exit(1);
  };
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  try {
    await work({
      signal: abort.signal,
      note,
      request: async (method, params, stage) => {
        const onProgress = (progress: { fraction: number | null; note: string }): void => {
          display.update({ fraction: progress.fraction, note: stage ? `${stage}: ${progress.note}` : progress.note });
        };
        try {
          return await engine.request(method, params, { signal: abort.signal, onProgress });
        } finally {
          display.clear();
        }
      },
    });
  } catch (thrown) {
    display.clear();
    process.exitCode = reportFailure(withoutEditorHints(thrown));
  } finally {
    await engine.dispose();
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
}

/** A command has no engine to restart: it starts one each time. */
function withoutEditorHints(thrown: unknown): unknown {
  if (thrown instanceof SecateurError && thrown.code === 'engine') {
    return new SecateurError(
      'engine',
      thrown.message,
      thrown.hint.includes('Restart')
        ? 'Nothing was written; run the command again, or with fewer --samples.'
        : thrown.hint,
    );
  }
  return thrown;
}

/** The result: one JSON object, or the text for people. */
export function print(json: boolean | undefined, value: unknown, text: () => string): void {
  process.stdout.write(`${json ? JSON.stringify(value) : text()}\n`);
}

/** Warnings of a report, for people on stderr; with --json they are in the object. */
export function printWarnings(
  session: Pick<Session, 'note'>,
  warnings: readonly string[],
  json: boolean | undefined,
): void {
  if (!json) for (const warning of new Set(warnings)) session.note(`Note: ${warning}`);
}

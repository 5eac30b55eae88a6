/** The engine's side of the channel: runs jobs, answers every request exactly once. */
import type { ClientMessage, ServerMessage } from '../../protocol.ts';
import { SecateurError } from '../../errors.ts';
import { ProgressThrottle } from './progress-throttle.ts';
import type { EngineHandlers, EngineMethod, JobContext } from './wire.ts';
import { cancelledError, toWireError } from './wire.ts';

/** Where messages go to and come from: the parent process, or a test. */
export interface Channel {
  send(message: ServerMessage): void;
  /** One line for the log of the side that started the engine. */
  log(line: string): void;
}

/** Jobs that may take minutes and gigabytes run one after the other; all others overtake them between two runs. */
const HEAVY: ReadonlySet<string> = new Set<EngineMethod>(['rank', 'prune', 'compare']);

interface Job {
  id: number;
  method: string;
  model: string;
  abort: AbortController;
  answered: boolean;
}

export class EngineServer {
  private readonly jobs = new Map<number, Job>();
  private heavyLane: Promise<unknown> = Promise.resolve();
  private readonly handlers: EngineHandlers;
  private readonly channel: Channel;

  constructor(handlers: EngineHandlers, channel: Channel) {
    this.handlers = handlers;
    this.channel = channel;
  }

  /** Takes one message of the client; anything malformed is logged and ignored, or answered where it has an id. */
  receive(message: ClientMessage): void {
    if (message?.kind === 'cancel') this.jobs.get(message.id)?.abort.abort();
    else if (message?.kind === 'request') void this.start(message.id, message.method, message.params);
    else this.channel.log('A message that is neither a request nor a cancellation was ignored.');
  }

  /** Cancels everything and waits until all jobs have been answered, but no longer than `limitMs`. */
  async drain(limitMs: number): Promise<void> {
    for (const job of this.jobs.values()) job.abort.abort();
    const end = performance.now() + limitMs;
    while (this.jobs.size > 0 && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  /** Answers all running jobs with an error that none of them caught, so that nobody waits for ever. */
  failAll(thrown: unknown): void {
    this.channel.log(
      `Uncaught in the engine: ${thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)}`,
    );
    for (const job of [...this.jobs.values()]) {
      this.answer(job, { kind: 'error', id: job.id, error: toWireError(thrown) });
      job.abort.abort();
    }
  }

  private async start(id: number, method: string, params: unknown): Promise<void> {
    const model = typeof params === 'object' && params !== null && 'model' in params ? String(params.model) : '';
    const job: Job = { id, method, model, abort: new AbortController(), answered: false };
    if (this.jobs.has(id)) return this.channel.log(`Request ${id} was sent twice.`);
    // A slider asks for a new value many times a second: only the newest is worth computing.
    if (method === 'measure') this.supersedeMeasures(model);
    this.jobs.set(id, job);
    try {
      const result = await (HEAVY.has(method) ? this.queue(job, () => this.run(job, params)) : this.run(job, params));
      this.answer(job, { kind: 'result', id, result });
    } catch (thrown) {
      if (!(thrown instanceof SecateurError)) {
        this.channel.log(`${method}: ${thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)}`);
      }
      this.answer(job, { kind: 'error', id, error: toWireError(thrown) });
    }
  }

  private async run(job: Job, params: unknown): Promise<unknown> {
    if (!Object.hasOwn(this.handlers, job.method)) {
      throw new SecateurError('usage', `The engine has no method named ${job.method}.`);
    }
    if (job.abort.signal.aborted) throw cancelledError();
    const throttle = new ProgressThrottle((progress) => {
      if (!job.answered) this.channel.send({ kind: 'progress', id: job.id, progress });
    });
    const handler = this.handlers[job.method as EngineMethod] as (p: unknown, c: JobContext) => Promise<unknown>;
    try {
      return await handler(params, { signal: job.abort.signal, progress: (progress) => throttle.push(progress) });
    } catch (thrown) {
      // Whatever a library throws once its work was aborted, to the user it is a cancellation.
      if (job.abort.signal.aborted && !(thrown instanceof SecateurError)) throw cancelledError();
      throw thrown;
    } finally {
      throttle.flush();
    }
  }

  /** Runs after all heavy jobs before it. A job that is cancelled while it waits is answered at once. */
  private queue(job: Job, work: () => Promise<unknown>): Promise<unknown> {
    const { signal } = job.abort;
    let started = false;
    const turn = this.heavyLane.then(() => {
      started = true;
      if (signal.aborted) throw cancelledError();
      return work();
    });
    this.heavyLane = turn.catch(() => undefined);
    const cancelled = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => {
        if (!started) reject(cancelledError());
      });
    });
    if (this.heavyWaiting(job)) {
      this.channel.send({
        kind: 'progress',
        id: job.id,
        progress: { fraction: null, note: 'waiting for another job' },
      });
    }
    return Promise.race([turn, cancelled]);
  }

  private heavyWaiting(job: Job): boolean {
    return [...this.jobs.values()].some((other) => other !== job && HEAVY.has(other.method));
  }

  private supersedeMeasures(model: string): void {
    for (const job of this.jobs.values()) if (job.method === 'measure' && job.model === model) job.abort.abort();
  }

  private answer(job: Job, message: ServerMessage): void {
    if (job.answered) return;
    job.answered = true;
    this.jobs.delete(job.id);
    try {
      this.channel.send(message);
    } catch (thrown) {
      // The result itself could not be serialized: the request still gets its answer.
      this.channel.send({ kind: 'error', id: job.id, error: toWireError(thrown) });
    }
  }
}

/** An engine process with small handlers of its own; bundled and forked by engine-client.test.ts. */
import type { ClientMessage } from '../../../src/protocol.ts';
import { EngineServer } from '../../../src/engine/process/server.ts';
import type { EngineHandlers, JobContext } from '../../../src/engine/process/wire.ts';
import { cancelledError } from '../../../src/engine/process/wire.ts';
import { SecateurError } from '../../../src/errors.ts';

const never = (): Promise<never> => new Promise(() => undefined);

function untilAborted({ signal }: JobContext): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve());
  });
}

const handlers = {
  inspect: async (params: { model: string }) => ({ model: params.model, telemetry: process.env.ORT_DISABLE_TELEMETRY }),
  evaluate: async () => {
    throw new SecateurError('bad-data', 'The data does not fit.', 'Choose other data.');
  },
  'describe-data': async () => {
    // A promise that nobody waits for: the job itself would never end.
    void Promise.reject(new Error('stray'));
    return never();
  },
  devices: async () => process.abort(),
  measure: async (params: { model: string }, context: JobContext) => {
    if (params.model.startsWith('quick')) return params.model;
    await untilAborted(context);
    throw cancelledError();
  },
  plan: async () => ({ cannot: () => 'be cloned' }),
  rank: async (_params: unknown, context: JobContext) => {
    for (let i = 0; i < 300; i++)
      context.progress({ fraction: i / 300, note: '', partial: { id: `g${i % 3}`, evaluations: i } as never });
    await untilAborted(context);
    return { complete: false };
  },
  prune: async () => 'pruned',
  compare: async () => 'compared',
} as unknown as EngineHandlers;

const server = new EngineServer(handlers, {
  send: (message) => void process.send?.(message, undefined, {}, () => undefined),
  log: (line) => console.error(line),
});
process.on('message', (message: ClientMessage) => server.receive(message));
process.on('unhandledRejection', (reason) => server.failAll(reason));
process.on('disconnect', () => void server.drain(500).finally(() => process.exit(0)));

/**
 * Entry of the engine process. It is forked by process/client.ts, talks over the fork's channel and nothing else, and
 * ends when the channel closes: an engine never outlives the process that started it.
 */
import './process/no-telemetry.ts';
import type { ClientMessage, ServerMessage } from '../protocol.ts';
import { handlers } from './jobs/index.ts';
import { EngineServer } from './process/server.ts';

/** How long running jobs may take to clean up (temporary files, say) once nobody listens any more. */
const FAREWELL_MS = 2000;

function main(): void {
  const { send } = process;
  if (!send) {
    process.stderr.write('This is the engine of Secateur. It is started by the editor or by the command `secateur`.\n');
    process.exit(2);
  }
  const log = (line: string): void => void process.stderr.write(`${line}\n`);
  const server = new EngineServer(handlers, {
    // The callback takes errors of a channel that closes meanwhile; 'disconnect' deals with that.
    send: (message: ServerMessage) =>
      void (process.connected && send.call(process, message, undefined, {}, () => undefined)),
    log,
  });
  process.on('message', (message: ClientMessage) => server.receive(message));
  process.on('unhandledRejection', (reason) => server.failAll(reason));
  process.on('uncaughtException', (error) => {
    server.failAll(error);
    // After an exception that nobody caught, the state of this process is unknown: let the client start another.
    setTimeout(() => process.exit(70), 100);
  });
  process.on('disconnect', () => void server.drain(FAREWELL_MS).finally(() => process.exit(0)));
  // A Ctrl+C in a terminal reaches the whole process group: the command line decides what to do, not the engine.
  process.on('SIGINT', () => undefined);
}

main();

/** What client and server of the engine process share: the messages are those of protocol.ts, here with their types. */
import type { EngineMethods, Progress, WireError } from '../../protocol.ts';
import { asSecateurError, SecateurError } from '../../errors.ts';

export type EngineMethod = keyof EngineMethods;
export type ParamsOf<M extends EngineMethod> = EngineMethods[M]['params'];
export type ResultOf<M extends EngineMethod> = EngineMethods[M]['result'];

/** What a job gets from the server besides its parameters. */
export interface JobContext {
  /** Aborted when the client cancels or is gone. A job checks it at least every few hundred milliseconds. */
  signal: AbortSignal;
  progress(progress: Progress): void;
}

/**
 * One function per method. A cancelled job either returns what it has (rank does) or throws
 * SecateurError('cancelled', …); both are answers.
 */
export type EngineHandlers = {
  [M in EngineMethod]: (params: ParamsOf<M>, context: JobContext) => Promise<ResultOf<M>>;
};

/** The error in a form that survives serialization: no stack, no cause. */
export function toWireError(thrown: unknown): WireError {
  const { code, message, hint } = asSecateurError(thrown);
  return { code, message, hint };
}

export function fromWireError(error: WireError): SecateurError {
  return new SecateurError(error.code, error.message, error.hint);
}

export function cancelledError(): SecateurError {
  return new SecateurError('cancelled', 'The job was cancelled.');
}

/** Kinds of failure. They decide the exit code of the command line and the wording in the editor. */
export type ErrorCode =
  | 'usage' // wrong arguments
  | 'bad-model' // the model file is not readable as ONNX
  | 'bad-data' // the data file is not readable or does not fit the model
  | 'unsupported' // valid, but beyond what Secateur can do
  | 'io' // the file system said no
  | 'runtime' // onnxruntime refused or failed
  | 'check-failed' // a result (an exported model, a step of training) did not pass its check
  | 'cancelled'
  | 'engine' // the engine process died or does not answer
  | 'internal';

/**
 * The only error that leaves a Secateur function on purpose.
 * `message` says what is wrong, in which file or tensor; `hint` says what to do about it.
 */
export class SecateurError extends Error {
  readonly code: ErrorCode;
  readonly hint: string;

  constructor(code: ErrorCode, message: string, hint = '', options?: ErrorOptions) {
    super(message, options);
    this.name = 'SecateurError';
    this.code = code;
    this.hint = hint;
  }

  /** One line for a terminal or a notification. */
  toLine(): string {
    return this.hint ? `${this.message} ${this.hint}` : this.message;
  }
}

/** Turns anything thrown into a SecateurError, keeping the original as `cause`. */
export function asSecateurError(thrown: unknown, code: ErrorCode = 'internal'): SecateurError {
  if (thrown instanceof SecateurError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new SecateurError(code, message.split('\n')[0], '', { cause: thrown });
}

/** Ends work that nobody waits for any more. @throws SecateurError 'cancelled' when the signal has fired */
export function checkSignal(signal: AbortSignal | undefined, message = 'The job was cancelled.'): void {
  if (signal?.aborted) throw new SecateurError('cancelled', message);
}

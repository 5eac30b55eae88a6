/** Entry of the command `secateur`. */
import { CommanderError } from 'commander';
import { buildProgram } from './program.ts';
import { reportFailure } from './run.ts';

// `secateur inspect model.onnx | head` closes the pipe early: that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

// Whatever was forgotten: still one sentence, and no stack trace.
process.on('uncaughtException', (error) => {
  reportFailure(error);
  process.exit(1);
});

try {
  await buildProgram().parseAsync(process.argv);
} catch (thrown) {
  // commander has printed its sentence, or the help that was asked for, already
  if (thrown instanceof CommanderError) process.exitCode = thrown.exitCode === 0 ? 0 : 2;
  else process.exitCode = reportFailure(thrown);
}

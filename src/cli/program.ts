import { Command } from 'commander';
import packageJson from '../../package.json' with { type: 'json' };
import { addCompare } from './commands/compare.ts';
import { addEvaluate } from './commands/evaluate.ts';
import { addFeatures } from './commands/features.ts';
import { addInspect } from './commands/inspect.ts';
import { addPlanMoe } from './commands/plan-moe.ts';
import { addPrune } from './commands/prune.ts';
import { addRank } from './commands/rank.ts';

/** The command line: every command, its options and its help. Bad usage throws a CommanderError after one sentence. */
export function buildProgram(): Command {
  const program = new Command('secateur')
    .description(
      'Open an ONNX model, see which of its units matter, prune the rest, export a smaller model that was checked.',
    )
    .version(packageJson.version, '-V, --version')
    .helpCommand('help [command]', 'help for a command')
    .showSuggestionAfterError()
    .exitOverride()
    .addHelpText(
      'after',
      `
Examples:
  $ secateur inspect model.onnx
  $ secateur rank model.onnx --data calib.npz --method shapley --out model.ranks.json
  $ secateur prune model.onnx --ranks model.ranks.json --data calib.npz --max-drop 0.01 --out small.onnx
  $ secateur compare model.onnx small.onnx --data test.npz

Exit codes: 0 success, 1 the job failed or was cancelled, 2 bad usage or bad input.`,
    );
  for (const add of [addInspect, addEvaluate, addRank, addPrune, addFeatures, addCompare, addPlanMoe]) add(program);
  for (const command of program.commands) tellErrors(command, `secateur ${command.name()}`);
  tellErrors(program, 'secateur');
  return program;
}

/** commander's message without its prefix and line breaks, with a way on. */
function tellErrors(command: Command, name: string): void {
  command.configureOutput({
    outputError: (text, write) => {
      const sentence = text
        .replace(/^error:\s*/i, '')
        .replace(/\s*\n\s*/g, ' ')
        .trim();
      write(`secateur: ${/[.?!)]$/.test(sentence) ? sentence : `${sentence}.`} See ${name} --help.\n`);
    },
  });
}

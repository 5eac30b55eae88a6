import type { Command } from 'commander';
import type { EvaluateReport } from '../../formats.ts';
import { metricValue, significant } from '../numbers.ts';
import type { DataOptions } from '../options.ts';
import { addCommonOptions, addDataOptions, dataSpec, modelPath } from '../options.ts';
import { print, printWarnings, runSession } from '../run.ts';
import { facts } from '../table.ts';

export function addEvaluate(program: Command): void {
  const command = program
    .command('evaluate')
    .description('value of the model as it stands, on all samples of the data')
    .argument('<model>', 'an ONNX file');
  addCommonOptions(addDataOptions(command)).addHelpText(
    'after',
    `
Examples:
  $ secateur evaluate model.onnx --data test.npz
  $ secateur evaluate model.onnx --data test.npz --metric cross-entropy --json
  $ secateur evaluate gpt2.onnx --data book.txt --sequence 256`,
  );
  command.action((model: string, options: DataOptions) =>
    runSession(async (session) => {
      const report = await session.request('evaluate', {
        model: modelPath(model),
        data: dataSpec(options),
        metric: options.metric,
        device: options.device,
      });
      printWarnings(session, report.warnings, options.json);
      print(options.json, report, () => describe(report));
    }),
  );
}

function describe(report: EvaluateReport): string {
  const value = (v: number, stderr: number | undefined, samples: number): string =>
    `${metricValue(report.metric, v, samples)}${stderr ? `  (standard error ${metricValue(report.metric, stderr, samples)})` : ''}, ${samples} samples`;
  const rows: [string, string][] = [[report.metric, value(report.value, report.stderr, report.samples)]];
  if (report.perplexity !== undefined) rows.push(['perplexity', significant(report.perplexity, 4)]);
  if (report.holdout) {
    const { holdout } = report;
    rows.push(['held out', value(holdout.value, holdout.stderr, holdout.samples)]);
    if (holdout.perplexity !== undefined) rows.push(['perplexity', significant(holdout.perplexity, 4)]);
  }
  rows.push(['output', `${report.output}, read as ${report.reading}`], ['device', report.device]);
  if (report.metric !== 'accuracy' && report.metric !== 'agreement')
    rows.push(['exactly', significant(report.value, 8)]);
  return facts(rows);
}

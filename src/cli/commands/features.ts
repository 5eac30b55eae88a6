import type { Command } from 'commander';
import { InvalidArgumentError, Option } from 'commander';
import { SecateurError } from '../../errors.ts';
import type { FeatureBaseline, FeatureComparison, FeatureKind, Features, FeatureScaling } from '../../formats.ts';
import { checkJsonTarget, writeJsonFile } from '../../pruning/export/files.ts';
import type { FeaturesParams } from '../../protocol.ts';
import { inputsOf } from '../files.ts';
import { duration, significant } from '../numbers.ts';
import type { DataOptions } from '../options.ts';
import { addCommonOptions, addDataOptions, dataSpec, modelPath, positiveNumber, wholeNumber } from '../options.ts';
import type { Session } from '../run.ts';
import { print, printWarnings, runSession } from '../run.ts';
import { facts, table } from '../table.ts';

const KINDS: FeatureKind[] = ['columns', 'pixels', 'patches', 'channels', 'rows', 'tokens'];
const BASELINES: FeatureBaseline[] = ['mean', 'zero'];
const SCALINGS: FeatureScaling[] = ['max-one', 'simplex'];

/** Rows of the table for people; all features are in the JSON. */
const SHOWN = 20;
/** Letters of the longest bar. */
const BAR = 24;

interface FeatureOptions
  extends
    DataOptions,
    Omit<FeaturesParams, 'model' | 'input' | 'kind' | 'metric' | 'seed' | 'device' | 'data' | 'method' | 'baseline'> {
  method: NonNullable<FeaturesParams['method']>;
  featuresKind?: FeatureKind;
  featureInput?: string;
  baseline: FeatureBaseline;
  out?: string;
}

export function addFeatures(program: Command): void {
  const command = program
    .command('features')
    .description('importance of input features, for all data or for one sample')
    .argument('<model>', 'an ONNX file')
    .addOption(
      new Option('--method <name>', 'Dirichlet importance (Q-FIT) or Shapley values')
        .choices(['qfit', 'shapley'])
        .default('qfit'),
    )
    .addOption(
      new Option(
        '--mode <name>',
        'one importance for all samples, or one for each of them, by a selector network (default: global)',
      ).choices(['global', 'local']),
    )
    .option('--sample <i>', 'explain this sample of the data alone (they count from 0)', wholeNumber(0))
    .addOption(new Option('--features-kind <kind>', 'what a feature is (default: by the input)').choices(KINDS))
    .option('--patch <n>', 'side of a patch in pixels (default: such that there are about 64)', wholeNumber(1))
    .option('--feature-input <name>', 'the input whose features are meant, where there are several')
    .addOption(
      new Option('--baseline <name>', 'what a closed feature is: its mean over the data, or 0')
        .choices(BASELINES)
        .default('mean'),
    )
    .addOption(
      new Option('--scaling <name>', 'how shares become gates: s / max(s), or s as it is (as published)')
        .choices(SCALINGS)
        .default('max-one'),
    )
    .addOption(new Option('--form <name>', 'the loss over draws, or at their mean').choices(['sampled', 'point']))
    .option('--draws <n>', 'draws a step (default: 5, for one sample 20)', wholeNumber(1))
    .option('--prior <a>', 'α₀ of the Dirichlet prior (default: 0.1)', positiveNumber)
    .option('--kl-weight <b>', 'what a nat of divergence from the prior costs (default: 1 / samples)', positiveNumber)
    .option('--steps <n>', 'steps of the optimiser', wholeNumber(1))
    .option('--batch <n>', 'samples a step (default: up to 100)', wholeNumber(1))
    .option('--learning-rate <r>', "Adam's, at the start (default: 0.05; for a selector network 0.01)", positiveNumber)
    .option('--budget <n>', 'Shapley values: coalitions to evaluate', wholeNumber(2))
    .option('--against <model>', 'explain this model too, and tell how far the two explanations differ')
    .option('--compare-labels <a,b>', 'explain the samples of two labels apart, and compare', labelPair)
    .option('--select <k>', 'choose so many features', wholeNumber(1))
    .option(
      '--spread <l>',
      'penalty for neighbours of chosen pixels, patches, rows, tokens (default: 0.5)',
      positiveNumber,
    )
    .option('--out <file>', 'write the result here, such as model.features.json');
  addCommonOptions(addDataOptions(command)).addHelpText(
    'after',
    `
Examples:
  $ secateur features model.onnx --data table.csv
  $ secateur features model.onnx --data calib.npz --features-kind patches --patch 4 --sample 12
  $ secateur features model.onnx --data calib.npz --against small.onnx
  $ secateur features depth.onnx --data scenes.npz --features-kind rows --select 32 --spread 0.5

Ctrl-C stops within a second; with --out, what was computed by then is written.`,
  );
  command.action((model: string, options: FeatureOptions) =>
    runSession((session) => features(session, model, options)),
  );
}

async function features(session: Session, modelArgument: string, options: FeatureOptions): Promise<void> {
  const model = modelPath(modelArgument);
  if (options.holdout)
    throw new SecateurError('usage', 'Features are explained on all of the data: leave --holdout out.');
  const data = dataSpec(options);
  const against = options.against ? modelPath(options.against) : undefined;
  const inputs = inputsOf(model, options);
  if (against) inputs.push({ path: against, what: 'the other model' });
  const out = options.out ? checkJsonTarget(options.out, inputs) : null;
  const { method, mode, sample, patch, baseline, metric, scaling, form, draws, prior, klWeight } = options;
  const { steps, batch, learningRate, budget, compareLabels, select, spread, seed, device } = options;
  const report = await session.request('features', {
    ...{ model, data, method, mode, sample, patch, baseline, metric, scaling, form, draws, prior, klWeight },
    ...{ steps, batch, learningRate, budget, against, compareLabels, select, spread, seed, device },
    kind: options.featuresKind,
    input: options.featureInput,
  });
  if (out) writeJsonFile(out, report, inputs);
  printWarnings(session, report.warnings, options.json);
  if (!report.complete)
    throw new SecateurError(
      'cancelled',
      'The explanation was cancelled.',
      out ? `What was computed is in ${out}.` : 'Nothing was kept: there is no --out.',
    );
  print(options.json, report, () => [describe(report), ...(out ? [`Wrote ${out}.`] : [])].join('\n\n'));
}

function describe(report: Features): string {
  const parts = [title(report), importances(report), facts(notes(report))];
  if (report.comparison) parts.push(comparison(report, report.comparison));
  return parts.join('\n\n');
}

function title({ method, mode, sample, samples, input, kind, features: all, device, seconds }: Features): string {
  const by = method === 'qfit' ? 'Dirichlet importance (Q-FIT)' : 'Shapley values';
  const of =
    mode === 'global' ? `${samples} samples` : sample === undefined ? `each of ${samples} samples` : `sample ${sample}`;
  return `${by} of ${all.length} ${kind} of ${input}, for ${of}, in ${duration(seconds * 1000)} on ${device}`;
}

function importances({ features: all, tokens, method }: Features): string {
  const largest = Math.max(...all.map((f) => Math.abs(f.importance)), Number.MIN_VALUE);
  const rows = [...all]
    .sort((a, b) => b.importance - a.importance || a.index - b.index)
    .slice(0, SHOWN)
    .map(({ index, name, importance, sd }) => [
      name,
      ...(tokens ? [tokens[index]] : []),
      significant(importance),
      sd === null ? '' : `±${significant(sd, 2)}`,
      (importance < 0 ? '-' : '█').repeat(Math.round((BAR * Math.abs(importance)) / largest)),
    ]);
  const text = table(
    [
      { title: 'feature' },
      ...(tokens ? [{ title: 'token' }] : []),
      { title: 'importance', align: 'right' as const },
      { title: method === 'qfit' ? 'sd' : 'error', align: 'right' as const },
      { title: '' },
    ],
    rows,
  );
  const hidden = all.length - rows.length;
  return hidden > 0 ? `${text}\n… and ${hidden} more: all are in --json and --out.` : text;
}

function notes(report: Features): [string, string][] {
  const { method, baseline, loss, output, reading, value, estimator, scaling, prior, klWeight, selected } = report;
  const what = `${method === 'qfit' ? '' : 'minus '}${loss} of ${output} (read as ${reading})`;
  const found: [string, string][] = [
    ['measured by', what],
    ['all features open', significant(value.open, 4)],
    [
      `all at the baseline`,
      `${significant(value.closed, 4)} (${baseline === 'mean' ? 'the mean over the data' : '0'})`,
    ],
  ];
  if (method === 'qfit') {
    const run = report.draws > 0 ? `${report.draws} draws × ${report.batch} samples` : `${report.batch} samples`;
    found.push(['fitted', `${report.steps} steps of ${run}, ${estimator} gradients, scaling ${scaling}`]);
    found.push(['prior', `α₀ = ${prior}, weight of the divergence ${significant(klWeight!, 2)}`]);
  } else found.push(['estimator', `${estimator}, ${report.steps} evaluations`]);
  if (selected) {
    const names = selected.indices.map((i) => report.features[i].name);
    found.push([`chosen (spread ${selected.spread})`, names.join(', ')]);
    found.push(['only these open', significant(selected.value, 4)]);
  }
  return found;
}

function comparison({ name }: Features, { other, divergence, spearman }: FeatureComparison): string {
  const rows: [string, string][] = [['compared', `${name} with ${other.name}`]];
  if (divergence)
    rows.push([
      'divergence',
      `${significant(divergence.forward, 4)} nats, the other way round ${significant(divergence.backward, 4)}`,
    ]);
  rows.push(['Spearman', spearman === null ? 'none: all features are alike' : significant(spearman)]);
  return facts(rows);
}

function labelPair(text: string): [number, number] {
  const labels = text.split(',').map((part) => Number(part.trim()));
  if (labels.length !== 2 || labels.some((l) => !Number.isInteger(l)) || labels[0] === labels[1])
    throw new InvalidArgumentError('It must be two different whole numbers with a comma, such as 3,8.');
  return [labels[0], labels[1]];
}

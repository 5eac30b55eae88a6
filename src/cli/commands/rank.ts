import type { Command } from 'commander';
import { Option } from 'commander';
import type { GroupRanks, MethodName, Ranks, RanksByMethod } from '../../formats.ts';
import { asSecateurError, SecateurError } from '../../errors.ts';
import type { EngineMethods } from '../../protocol.ts';
import { agreementOf } from '../../ranking/agreement.ts';
import { checkJsonTarget, writeJsonFile } from '../../pruning/export/files.ts';
import { matchGroups } from '../../pruning/plan/freeze.ts';
import { METHOD_NAMES } from '../../ranking/names.ts';
import { describeAgreement } from '../agreement.ts';
import { inputsOf, readRanks } from '../files.ts';
import { duration, metricValue, percent, significant } from '../numbers.ts';
import type { DataOptions } from '../options.ts';
import {
  addCommonOptions,
  addDataOptions,
  collect,
  dataSpec,
  ESTIMATORS,
  methodList,
  modelPath,
  positiveNumber,
  share,
  wholeNumber,
} from '../options.ts';
import type { Session } from '../run.ts';
import { print, printWarnings, runSession } from '../run.ts';
import { table } from '../table.ts';

/** What the command hands on as it is. */
type Handed = 'budget' | 'tolerance' | 'estimator' | 'truncation' | 'form' | 'scaling' | 'prior';

interface RankOptions extends DataOptions, Pick<EngineMethods['rank']['params'], Handed> {
  method: MethodName[];
  group?: string[];
  players: 'units' | 'layers';
  closing?: number;
  out?: string;
  resume?: string;
  cache: boolean;
}

export function addRank(program: Command): void {
  const command = program
    .command('rank')
    .description('importance of every unit, by one or several methods')
    .argument('<model>', 'an ONNX file')
    .requiredOption('--method <names>', `one or several of ${METHOD_NAMES.join(', ')}, with commas`, methodList)
    .option('--group <id>', 'only this group (* and ? as in file names); may be repeated', collect)
    .option('--budget <n>', 'evaluations per group (one evaluation: one coalition on all samples used)', wholeNumber(1))
    .option(
      '--tolerance <t>',
      'stop when standard errors are below this share of the spread of the scores',
      positiveNumber,
    )
    .addOption(
      new Option(
        '--estimator <name>',
        'how Shapley values are computed (default: what suits group and budget)',
      ).choices(ESTIMATORS),
    )
    .option(
      '--truncation <t>',
      'Shapley values of accuracy: end a permutation this close to the accuracy with no unit open (biased)',
      positiveNumber,
    )
    .addOption(
      new Option('--form <name>', 'Dirichlet switch: loss over draws, or at the mean of the distribution').choices([
        'sampled',
        'point',
      ]),
    )
    .addOption(
      new Option(
        '--scaling <name>',
        'Dirichlet switch: gates from shares s of n units: 1 − exp(−n·s) (default), n·s, s / max(s), or s',
      ).choices(['saturating', 'mean-one', 'max-one', 'simplex']),
    )
    .option('--prior <a>', 'Dirichlet switch: α₀ of the symmetric prior (default: 2)', positiveNumber)
    .addOption(
      new Option('--players <what>', 'rank the units of each group, or whole groups against each other')
        .choices(['units', 'layers'])
        .default('units'),
    )
    .option(
      '--closing <share>',
      'with --players layers: share of its units that a closed layer lacks (default: 1)',
      share(),
    )
    .option('--out <file>', 'write the ranks here, such as model.ranks.json')
    .option('--resume <file>', 'go on from the ranks of an earlier run')
    .option('--no-cache', 'evaluate everything anew, and keep nothing for later runs');
  addCommonOptions(addDataOptions(command)).addHelpText(
    'after',
    `
Examples:
  $ secateur rank model.onnx --data calib.npz --method shapley --out model.ranks.json
  $ secateur rank model.onnx --data calib.npz --method shapley,magnitude --group 'stem*' --budget 500
  $ secateur rank model.onnx --data calib.npz --method shapley --players layers --closing 0.5
  $ secateur rank model.onnx --data calib.npz --method shapley --resume model.ranks.json --budget 5000 --out model.ranks.json

Ctrl-C stops within a second; with --out, what was computed by then is written and --resume goes on from it.`,
  );
  command.action((model: string, options: RankOptions) =>
    runSession((session) => rank(session, model, options), options.cache),
  );
}

async function rank(session: Session, modelArgument: string, options: RankOptions): Promise<void> {
  const started = performance.now();
  const model = modelPath(modelArgument);
  const data = dataSpec(options);
  const inputs = inputsOf(model, options);
  // Before hours of work, not after.
  const out = options.out ? checkJsonTarget(options.out, inputs) : null;
  const earlier = options.resume ? readRanks(options.resume) : [];
  // A run of several methods may have been cancelled before it came to the last ones.
  if (options.resume && !earlier.some((r) => options.method.includes(r.method)))
    throw new SecateurError('usage', `${options.resume} has no ranks by ${options.method.join(' or ')} to go on from.`);
  if (options.closing !== undefined && options.players !== 'layers')
    throw new SecateurError('usage', '--closing is for whole layers.', 'Add --players layers.');
  const layers = options.players === 'layers' ? { closing: options.closing ?? 1 } : undefined;
  const groups = options.group ? await groupIds(session, model, options.group) : undefined;

  const results: Ranks[] = [];
  const leftOut = new Map<MethodName, SecateurError>();
  let failure: SecateurError | undefined;
  for (const method of options.method) {
    if (session.signal.aborted) break;
    const { metric, budget, tolerance, estimator, truncation, form, scaling, prior, seed, device } = options;
    const resume = earlier.find((r) => r.method === method);
    const stage = options.method.length > 1 ? method : undefined;
    try {
      results.push(
        await session.request(
          'rank',
          {
            model,
            data,
            method,
            metric,
            groups,
            budget,
            tolerance,
            estimator,
            truncation,
            form,
            scaling,
            prior,
            layers,
            seed,
            device,
            resume,
          },
          stage,
        ),
      );
    } catch (thrown) {
      // What other methods compute is kept when one is cancelled before its first group, fails, or cannot rank this model.
      if (session.signal.aborted && results.length > 0) break;
      const error = asSecateurError(thrown);
      if (stage && error.code === 'unsupported') {
        leftOut.set(method, error);
        continue;
      }
      failure = error;
      break;
    }
  }
  if (results.length === 0) throw failure ?? [...leftOut.values()][0];
  if (failure && !out) throw failure;
  const complete = results.length + leftOut.size === options.method.length && results.every((r) => r.complete);
  const report: Ranks | RanksByMethod =
    options.method.length === 1
      ? results[0]
      : { format: 'secateur-ranks/1', methods: results, agreement: agreementOf(results) };
  if (out) writeJsonFile(out, report, inputs);
  for (const [method, { message }] of leftOut) session.note(`Note: ${message} The method ${method} is left out.`);
  printWarnings(
    session,
    results.flatMap((r) => r.warnings),
    options.json,
  );
  if (failure)
    throw new SecateurError(failure.code, failure.message, `${failure.hint} What other methods computed is in ${out}.`);
  if (!complete) {
    const what = results.some((r) => r.groups.length > 0)
      ? 'What was computed'
      : 'No group was finished: nothing but the settings';
    const kept = out
      ? `${what} is in ${out}; --resume ${out} goes on from it.`
      : 'Nothing was kept: there is no --out.';
    throw new SecateurError('cancelled', 'Ranking was cancelled.', kept);
  }
  print(options.json, report, () => {
    const parts = results.map((r) => describe(r, options.method.length > 1));
    if ('agreement' in report && report.agreement?.length) parts.push(describeAgreement(report.agreement));
    parts.push(
      out
        ? `Wrote ${out} in ${duration(performance.now() - started)}.`
        : 'Not written to a file: add --out model.ranks.json to keep the ranks.',
    );
    return parts.join('\n\n');
  });
}

async function groupIds(session: Session, model: string, patterns: readonly string[]): Promise<string[]> {
  const { groups } = await session.request('inspect', { model });
  return matchGroups(groups, patterns);
}

function describe(ranks: Ranks, withTitle: boolean): string {
  const title = [
    `Ranked by ${ranks.method}${ranks.metric ? ` of ${ranks.metric}` : ''}`,
    ranks.metric ? `on ${ranks.data.samples} samples (${ranks.output}, read as ${ranks.reading})` : '',
    `in ${duration(ranks.seconds * 1000)} on ${ranks.device}`,
  ];
  const text = ranks.layers ? layerTable(ranks) : groupTable(ranks);
  return `${withTitle ? `== ${ranks.method} ==\n` : ''}${title.filter(Boolean).join(' ')}\n\n${text}`;
}

/** Whole layers, the most important first. */
function layerTable(ranks: Ranks): string {
  const [{ units, value }] = ranks.groups;
  const score = (x: number): string => significant(x, 3);
  const rows = [...units]
    .sort((a, b) => b.score - a.score || a.index - b.index)
    .map((u) => [u.name ?? '', score(u.score), u.stderr ? `±${significant(u.stderr, 1)}` : '']);
  const ends = [value?.full, value?.empty].map((v) =>
    v !== undefined && ranks.metric ? metricValue(ranks.metric, v, ranks.data.samples) : '–',
  );
  const text = table([{ title: 'layer' }, { title: 'score', align: 'right' }, { title: '' }], rows);
  return `${text}\n\nAll open ${ends[0]}, all closed ${ends[1]}; a closed layer lacks ${percent(ranks.layers!.closing, 0)} of its units.`;
}

function groupTable(ranks: Ranks): string {
  const rows = ranks.groups.map((g) => [
    g.id,
    String(g.size),
    g.value && ranks.metric ? metricValue(ranks.metric, g.value.full, ranks.data.samples) : '',
    g.value && ranks.metric ? metricValue(ranks.metric, g.value.empty, ranks.data.samples) : '',
    String(g.evaluations),
    ends(g, 'best'),
    ends(g, 'worst'),
    g.noSignal ? 'no signal: these units are interchangeable on this data' : (g.estimator ?? ''),
  ]);
  return table(
    [
      { title: 'group' },
      { title: 'units', align: 'right' },
      { title: 'all open', align: 'right' },
      { title: 'none', align: 'right' },
      { title: 'evaluations', align: 'right' },
      { title: 'most important' },
      { title: 'least important' },
      { title: '' },
    ],
    rows,
  );
}

function ends(group: GroupRanks, which: 'best' | 'worst'): string {
  const sorted = [...group.units].sort(
    (a, b) => (which === 'best' ? b.score - a.score : a.score - b.score) || a.index - b.index,
  );
  return sorted
    .slice(0, 2)
    .map(
      (u) => `${u.name ?? `#${u.index}`} ${significant(u.score, 2)}${u.stderr ? `±${significant(u.stderr, 1)}` : ''}`,
    )
    .join(', ');
}

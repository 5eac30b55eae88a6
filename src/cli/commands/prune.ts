import type { Command } from 'commander';
import { Option } from 'commander';
import type { Allocation, MethodName, Plan, PruneReport, Ranks, TargetKind } from '../../formats.ts';
import { SecateurError } from '../../errors.ts';
import { checkJsonTarget, checkTarget, writeJsonFile } from '../../pruning/export/files.ts';
import { matchGroups } from '../../pruning/plan/freeze.ts';
import { METHOD_NAMES } from '../../ranking/names.ts';
import { chooseRanks, inputsOf, readPlan } from '../files.ts';
import { duration, significant } from '../numbers.ts';
import type { DataOptions } from '../options.ts';
import {
  addCommonOptions,
  addDataOptions,
  collect,
  dataSpec,
  methodList,
  modelPath,
  positiveNumber,
  share,
  wholeNumber,
} from '../options.ts';
import { sidesTable } from '../sides.ts';
import type { Session } from '../run.ts';
import { print, printWarnings, runSession } from '../run.ts';
import { table } from '../table.ts';

interface PruneOptions extends DataOptions {
  ranks?: string;
  method?: MethodName[];
  plan?: string;
  group?: string[];
  budget?: number;
  cache: boolean;
  tolerance?: number;
  keepMacs?: number;
  keepParams?: number;
  keepUnits?: number;
  maxDrop?: number;
  allocation?: Allocation;
  minKeep?: number;
  roundTo?: number;
  freeze?: string[];
  out: string;
  savePlan?: string;
  saveReport?: string;
}

const DEFAULTS = { allocation: 'global' as Allocation, minKeep: 0.25, roundTo: 1 };

export function addPrune(program: Command): void {
  const command = program
    .command('prune')
    .description('remove the least important units and export a smaller, checked model')
    .argument('<model>', 'an ONNX file')
    .option('--ranks <file>', 'ranks made by secateur rank')
    .option(
      '--method <name>',
      `rank now by one of ${METHOD_NAMES.join(', ')}; with --ranks: which ranks of the file`,
      methodList,
    )
    .option('--plan <file>', 'execute this plan')
    .option('--keep-macs <share>', 'keep this share of the MACs', share())
    .option('--keep-params <share>', 'keep this share of the parameters', share())
    .option('--keep-units <share>', 'keep this share of the units', share())
    .option(
      '--max-drop <d>',
      'remove as much as costs at most d of the metric (0.01: one point of accuracy)',
      positiveNumber,
    )
    .addOption(
      new Option('--allocation <how>', 'one order for all groups, or the same share of each (default: global)').choices(
        ['global', 'uniform'],
      ),
    )
    .option('--min-keep <share>', `keep at least this share of every group (default: ${DEFAULTS.minKeep})`, share(true))
    .option('--round-to <n>', 'keep multiples of n units where the group allows it (default: 1)', wholeNumber(1))
    .option(
      '--freeze <pattern>',
      'keep all units of groups with this id or layer name (* and ?); may be repeated',
      collect,
    )
    .option(
      '--group <id>',
      'with --method: rank and prune only this group (* and ?); may be repeated. Whole blocks go only when theirs is named',
      collect,
    )
    .option('--budget <n>', 'with --method: evaluations per group', wholeNumber(1))
    .option('--no-cache', 'with --method: evaluate everything anew, and keep nothing for later runs')
    .option(
      '--tolerance <t>',
      'with --method: stop when standard errors are below this share of the spread',
      positiveNumber,
    )
    .requiredOption('--out <file>', 'the smaller model, such as small.onnx')
    .option('--save-plan <file>', 'write the plan, to replay it with --plan')
    .option('--save-report <file>', 'write the report as JSON');
  addCommonOptions(addDataOptions(command)).addHelpText(
    'after',
    `
Examples:
  $ secateur prune model.onnx --ranks model.ranks.json --data calib.npz --max-drop 0.01 --out small.onnx
  $ secateur prune model.onnx --method magnitude --data calib.npz --keep-macs 0.5 --freeze 'stem*' --out small.onnx
  $ secateur prune model.onnx --method shapley --group '*#blocks' --data calib.npz --keep-macs 0.7 --out shallow.onnx
  $ secateur prune model.onnx --plan small.plan.json --data calib.npz --out small.onnx

The model itself is never written. The export is made in a temporary folder beside the output, loaded and compared with
the gated original there, and only then put in place.`,
  );
  command.action((model: string, options: PruneOptions) =>
    runSession((session) => prune(session, model, options), options.cache),
  );
}

async function prune(session: Session, modelArgument: string, options: PruneOptions): Promise<void> {
  const target = checkUsage(options);
  const model = modelPath(modelArgument);
  const data = dataSpec(options);
  const inputs = inputsOf(model, options);
  const out = checkTarget(options.out, inputs);
  if (!/\.onnx$/i.test(out)) throw new SecateurError('usage', `The output ${options.out} must end in .onnx.`);
  if (options.ranks) inputs.push({ path: options.ranks, what: 'the file of the ranks' });
  const savePlan = options.savePlan ? checkJsonTarget(options.savePlan, inputs) : null;
  if (savePlan) inputs.push({ path: savePlan, what: 'the file of the plan' });
  const saveReport = options.saveReport ? checkJsonTarget(options.saveReport, inputs) : null;
  const { metric, device } = options;

  const { plan, messages } = target
    ? await makePlan(session, model, target, options)
    : { plan: readPlan(options.plan!, await session.request('inspect', { model })), messages: [] };
  const report = await session.request('prune', { model, data, plan, out, metric, device });
  report.warnings.push(...messages);
  if (savePlan) writeJsonFile(savePlan, report.plan);
  if (saveReport) writeJsonFile(saveReport, report);
  printWarnings(session, report.warnings, options.json);
  print(options.json, report, () => describe(report, [savePlan, saveReport]));
}

/** Checks what excludes each other. @returns the target, or null when a plan is replayed */
function checkUsage(options: PruneOptions): { kind: TargetKind; value: number } | null {
  const fail = (message: string, hint = ''): never => {
    throw new SecateurError('usage', message, hint);
  };
  const targets = (
    [
      ['keep-macs', options.keepMacs],
      ['keep-params', options.keepParams],
      ['keep-units', options.keepUnits],
      ['max-drop', options.maxDrop],
    ] as [TargetKind, number | undefined][]
  ).filter(([, value]) => value !== undefined);
  if (options.plan) {
    const excluded = {
      '--ranks': options.ranks,
      '--method': options.method,
      '--allocation': options.allocation,
      '--min-keep': options.minKeep,
      '--round-to': options.roundTo,
      '--freeze': options.freeze,
      '--group': options.group,
      '--budget': options.budget,
      '--tolerance': options.tolerance,
    };
    for (const [name, value] of Object.entries(excluded))
      if (value !== undefined) fail(`${name} and --plan exclude each other: a plan says already which units stay.`);
    if (targets.length > 0)
      fail(`--${targets[0][0]} and --plan exclude each other: a plan says already which units stay.`);
    return null;
  }
  if (!options.ranks && !options.method)
    fail('Nothing says which units matter.', 'Give --ranks FILE, --method NAME or --plan FILE.');
  if ((options.method?.length ?? 1) !== 1) fail('prune takes one method.', 'Use `secateur rank` to compare several.');
  if (options.ranks && options.group) fail('--group is for --method: the ranks of a file say which groups they cover.');
  if (options.ranks && (options.budget !== undefined || options.tolerance !== undefined))
    fail('--budget and --tolerance are for --method: the ranks of a file are finished.');
  if (targets.length !== 1) {
    fail(
      targets.length === 0
        ? 'Nothing says how much is to go.'
        : `${targets.map(([kind]) => `--${kind}`).join(' and ')} exclude each other.`,
      'Give one of --keep-macs, --keep-params, --keep-units and --max-drop.',
    );
  }
  return { kind: targets[0][0], value: targets[0][1]! };
}

async function makePlan(
  session: Session,
  model: string,
  target: { kind: TargetKind; value: number },
  options: PruneOptions,
): Promise<{ plan: Plan; messages: string[] }> {
  const { metric, device, seed, budget, tolerance } = options;
  const data = dataSpec(options);
  const frozen = options.freeze ? await matching(session, model, options.freeze) : [];
  let ranks: Ranks;
  if (options.ranks) {
    ranks = chooseRanks(options.ranks, options.method?.[0]);
  } else {
    ranks = await session.request('rank', {
      model,
      data,
      method: options.method![0],
      metric,
      groups: options.group && (await matching(session, model, options.group)),
      budget,
      tolerance,
      seed,
      device,
    });
    if (!ranks.complete) throw new SecateurError('cancelled', 'Ranking was cancelled; nothing was written.');
  }
  const { plan, messages = [] } = await session.request('plan', {
    model,
    data,
    ranks,
    target,
    frozen,
    metric,
    device,
    seed,
    allocation: options.allocation ?? DEFAULTS.allocation,
    minKeep: options.minKeep ?? DEFAULTS.minKeep,
    roundTo: options.roundTo ?? DEFAULTS.roundTo,
  });
  return { plan, messages };
}

async function matching(session: Session, model: string, patterns: readonly string[]): Promise<string[]> {
  const { groups } = await session.request('inspect', { model });
  return matchGroups(groups, patterns);
}

function describe(report: PruneReport, written: (string | null)[]): string {
  const { equivalence: e, plan } = report;
  const parts = [
    sidesTable(
      { title: 'before', side: report.before },
      { title: 'after', side: report.after },
      {
        metric: report.metric,
        valueTitle: report.data.path === 'synthetic' ? report.metric : `${report.metric}, calibration`,
        samples: report.data.samples,
        holdoutSamples: report.holdoutSamples,
      },
    ),
  ];
  const cut = plan.groups.filter((g) => g.keep.length < groupSize(report, g.id));
  if (cut.length > 0) {
    parts.push(
      table(
        [{ title: 'group' }, { title: 'units', align: 'right' }, { title: 'kept', align: 'right' }],
        plan.groups.map((g) => [
          g.id,
          String(groupSize(report, g.id)),
          g.frozen ? `${g.keep.length} (frozen)` : String(g.keep.length),
        ]),
      ),
    );
  }
  parts.push(
    `Pruned = gated original: largest difference ${significant(e.maxAbsDiff, 2)}, relative ${significant(e.maxRelDiff, 2)} on ${e.samples} samples (tolerance ${significant(e.tolerance, 2)}).`,
  );
  if (report.shrunkOutputs.length > 0)
    parts.push(`Outputs that became smaller with the units they report on: ${report.shrunkOutputs.join(', ')}.`);
  const files = [report.output, ...written.filter((path) => path !== null)];
  parts.push(`Wrote ${files.join(', ')} in ${duration(report.seconds * 1000)}.`);
  return parts.join('\n\n');
}

function groupSize(report: PruneReport, id: string): number {
  return report.groupSizes[id] ?? 0;
}

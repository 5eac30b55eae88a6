import type { Command } from 'commander';
import type { InspectReport, MoeInfo, PortInfo } from '../../formats.ts';
import { bytes, count, percent } from '../numbers.ts';
import type { CommonOptions } from '../options.ts';
import { addCommonOptions, modelPath } from '../options.ts';
import { print, printWarnings, runSession } from '../run.ts';
import { facts, table } from '../table.ts';

export function addInspect(program: Command): void {
  const command = program
    .command('inspect')
    .description('totals, layers, groups of units that can be pruned')
    .argument('<model>', 'an ONNX file')
    .option('--all', 'list also layers without parameters and MACs');
  addCommonOptions(command).addHelpText(
    'after',
    `
Examples:
  $ secateur inspect model.onnx
  $ secateur inspect model.onnx --json | jq '.groups[] | select(.prunable) | .id'`,
  );
  command.action((model: string, options: CommonOptions & { all?: boolean }) =>
    runSession(async (session) => {
      const { costTerms: _, ...report } = await session.request('inspect', { model: modelPath(model) });
      printWarnings(session, report.warnings, options.json);
      print(options.json, report, () => describe(report, options.all ?? false));
    }),
  );
}

function describe(report: InspectReport, all: boolean): string {
  const { model, totals } = report;
  const parts = [
    facts([
      ['model', model.path],
      [
        'file',
        `${bytes(model.bytes)}, opset ${model.opset}, IR ${model.irVersion}${model.producer ? `, by ${model.producer}` : ''}`,
      ],
      ['total', `${count(totals.parameters)} parameters, ${count(totals.macs)} MACs, ${totals.nodes} nodes`],
      ['in', report.inputs.map(port).join('; ') || 'none'],
      ['out', report.outputs.map(port).join('; ') || 'none'],
      [
        'prunable',
        `${percent(report.prunable.parameters)} of the parameters, ${percent(report.prunable.macs)} of the MACs`,
      ],
    ]),
  ];
  const shown = all ? report.layers : report.layers.filter((l) => l.parameters > 0 || l.macs > 0);
  if (shown.length > 0) {
    const rows = shown.map((l) => [l.name, l.op, shape(l.shape), count(l.parameters), count(l.macs), l.group ?? '']);
    parts.push(
      table(
        [
          { title: 'layer' },
          { title: 'op' },
          { title: 'shape' },
          { title: 'parameters', align: 'right' },
          { title: 'MACs', align: 'right' },
          { title: 'group' },
        ],
        rows,
      ),
    );
  }
  if (shown.length < report.layers.length) {
    parts.push(
      `${report.layers.length - shown.length} layers without parameters and MACs are not listed (--all lists them).`,
    );
  }
  if (report.moe.length > 0) parts.push(mixtures(report.moe));
  const prunable = report.groups.filter((g) => g.prunable);
  if (prunable.length > 0) {
    const rows = prunable.map((g) => [
      g.id,
      g.kind,
      String(g.size),
      count(g.parameters),
      count(g.macs),
      list(g.layers),
      list(g.consumers),
    ]);
    parts.push(
      table(
        [
          { title: 'group' },
          { title: 'units' },
          { title: 'size', align: 'right' },
          { title: 'parameters', align: 'right' },
          { title: 'MACs', align: 'right' },
          { title: 'made by', max: 40 },
          { title: 'read by', max: 40 },
        ],
        rows,
      ),
    );
  }
  const frozen = new Map<string, string[]>();
  for (const g of report.groups.filter((each) => !each.prunable)) {
    const reason = g.reason ?? 'no reason given';
    frozen.set(reason, [...(frozen.get(reason) ?? []), g.id]);
  }
  for (const [reason, ids] of frozen) parts.push(`Cannot be pruned, as it ${reason}: ${list(ids, 8)}`);
  if (report.groups.length === 0) parts.push('No groups of units were found in this model.');
  return parts.join('\n\n');
}

function mixtures(moe: readonly MoeInfo[]): string {
  const rows = moe.map((m) => [
    m.id,
    m.form,
    String(m.experts.length),
    m.k === null ? '?' : String(m.k),
    `${m.router.kind}${m.router.normalised && m.router.kind !== 'topk-softmax' ? ', normalised' : ''}${m.router.selectionBias ? ', bias for choosing' : ''}`,
    count(Math.max(0, ...m.experts.map((e) => e.parameters))),
    m.shared.length > 0 ? count(m.shared.reduce((sum, e) => sum + e.parameters, 0)) : '',
  ]);
  const shown = table(
    [
      { title: 'experts of' },
      { title: 'form' },
      { title: 'number', align: 'right' },
      { title: 'per token', align: 'right' },
      { title: 'router' },
      { title: 'parameters each', align: 'right' },
      { title: 'shared', align: 'right' },
    ],
    rows,
  );
  const problems = new Map<string, string[]>();
  for (const m of moe) for (const p of m.problems) problems.set(p, [...(problems.get(p) ?? []), m.id]);
  return [shown, ...[...problems].map(([sentence, ids]) => `${list(ids)}: ${sentence}`)].join('\n');
}

function port({ name, type, shape: dims }: PortInfo): string {
  return `${name} ${type}${dims ? `[${dims.map((d) => d ?? '?').join(', ')}]` : ''}`;
}

function shape(dims: (number | string | null)[] | null): string {
  return dims ? dims.map((d) => d ?? '?').join('×') : '?';
}

function list(names: readonly string[], most = 3): string {
  return names.length <= most ? names.join(', ') : `${names.slice(0, most).join(', ')} and ${names.length - most} more`;
}

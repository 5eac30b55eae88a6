import { basename } from 'node:path';
import type { Command } from 'commander';
import type { CompareReport } from '../../formats.ts';
import { count, percent, significant } from '../numbers.ts';
import type { DataOptions } from '../options.ts';
import { addCommonOptions, addDataOptions, dataSpec, modelPath } from '../options.ts';
import { print, printWarnings, runSession } from '../run.ts';
import { sidesTable } from '../sides.ts';
import { table } from '../table.ts';

export function addCompare(program: Command): void {
  const command = program
    .command('compare')
    .description('two models: size, cost, metrics, distance of the outputs, latency')
    .argument('<a>', 'an ONNX file')
    .argument('<b>', 'another one with the same inputs');
  addCommonOptions(addDataOptions(command)).addHelpText(
    'after',
    `
Examples:
  $ secateur compare model.onnx small.onnx --data test.npz
  $ secateur compare model.onnx small.onnx --data test.npz --json | jq .delta`,
  );
  command.action((a: string, b: string, options: DataOptions) =>
    runSession(async (session) => {
      const { metric, device } = options;
      const report = await session.request('compare', {
        a: modelPath(a),
        b: modelPath(b),
        data: dataSpec(options),
        metric,
        device,
      });
      printWarnings(session, report.warnings, options.json);
      print(options.json, report, () => describe(report));
    }),
  );
}

function describe(report: CompareReport): string {
  const { a, b } = report;
  const names = basename(a.path) === basename(b.path) ? [a.path, b.path] : [basename(a.path), basename(b.path)];
  const parts = [
    sidesTable(
      { title: names[0], side: a },
      { title: names[1], side: b },
      {
        metric: report.metric ?? '',
        valueTitle: report.metric ?? '',
        samples: report.samples,
        holdoutSamples: report.holdoutSamples,
      },
    ),
  ];
  const differing = report.layers.filter((l) => l.a?.parameters !== l.b?.parameters || l.a?.macs !== l.b?.macs);
  if (differing.length > 0) {
    const cost = (side: { parameters: number; macs: number } | null, what: 'parameters' | 'macs'): string =>
      side ? count(side[what]) : '–';
    parts.push(
      table(
        [
          { title: 'layer' },
          { title: 'op' },
          { title: 'parameters', align: 'right' },
          { title: '→', align: 'right' },
          { title: 'MACs', align: 'right' },
          { title: '→', align: 'right' },
        ],
        differing.map((l) => [
          l.name,
          l.op,
          cost(l.a, 'parameters'),
          cost(l.b, 'parameters'),
          cost(l.a, 'macs'),
          cost(l.b, 'macs'),
        ]),
      ),
    );
  } else {
    parts.push('Every layer has the same parameters and MACs in both.');
  }
  if (report.changed) {
    const { samples, share, indices } = report.changed;
    const which = indices.length ? `: ${indices.slice(0, 12).join(', ')}${indices.length > 12 ? ', …' : ''}` : '';
    parts.push(`${samples} samples (${percent(share)}) are answered differently${which}.`);
  }
  for (const o of report.outputs)
    parts.push(
      `Output ${o.name}: largest difference ${significant(o.maxAbsDiff)}, relative ${significant(o.maxRelDiff)}.`,
    );
  return parts.join('\n\n');
}

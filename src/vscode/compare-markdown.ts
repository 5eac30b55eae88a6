import { basename } from 'node:path';
import type { CompareReport, SideReport } from '../formats.ts';
import type { DataSpec } from '../protocol.ts';

type Row = [keyof SideReport, string, (value: number) => string];

function rowsOf({ metric, samples, holdoutSamples }: CompareReport): Row[] {
  const share = metric === 'accuracy' || metric === 'agreement';
  const value = (number: number): string =>
    share ? `${(number * 100).toFixed(1)} %` : String(Number(number.toPrecision(4)));
  return [
    ['bytes', 'File', (bytes) => si(bytes, 'B')],
    ['parameters', 'Parameters', (parameters) => si(parameters)],
    ['macs', 'MACs', (macs) => si(macs)],
    ['value', `${metric ?? 'Metric'} (${samples} samples)`, value],
    ['holdout', `${metric ?? 'Metric'}, held out (${holdoutSamples} samples)`, value],
    ['latencyMs', 'Latency', (ms) => `${ms.toPrecision(3)} ms`],
  ];
}

/** The report as Markdown: totals, distance of the outputs, layers that differ. */
export function compareMarkdown(report: CompareReport, data: DataSpec): string {
  const { a, b, delta, changed, outputs, layers, warnings } = report;
  const cell = (value: number | null, show: (value: number) => string): string => (value === null ? '–' : show(value));
  const signed = (value: number | null, show: (value: number) => string): string =>
    value === null ? '–' : `${value > 0 ? '+' : value < 0 ? '−' : '±'}${show(Math.abs(value))}`;
  const lines = [
    `# ${escape(basename(a.path))} ↔ ${escape(basename(b.path))}`,
    '',
    `Data: ${data.path === null ? 'synthetic inputs (outputs are compared, no accuracy)' : code(data.path)}`,
    '',
    `| | ${code(basename(a.path))} | ${code(basename(b.path))} | difference |`,
    '|---|---:|---:|---:|',
    ...rowsOf(report)
      .filter(([key]) => a[key] !== null || b[key] !== null)
      .map(
        ([key, name, show]) =>
          `| ${name} | ${cell(a[key], show)} | ${cell(b[key], show)} | ${signed(delta[key], show)} |`,
      ),
    '',
  ];
  if (changed) {
    lines.push(`The answer differs on **${changed.samples}** samples (${(changed.share * 100).toFixed(1)} %).`, '');
  }
  lines.push('## Outputs', '', '| output | largest difference | relative |', '|---|---:|---:|');
  for (const { name, maxAbsDiff, maxRelDiff } of outputs) {
    lines.push(`| ${code(name)} | ${maxAbsDiff.toPrecision(3)} | ${maxRelDiff.toPrecision(3)} |`);
  }
  const differing = layers.filter(
    (layer) => layer.a?.macs !== layer.b?.macs || layer.a?.parameters !== layer.b?.parameters,
  );
  if (differing.length > 0) {
    lines.push('', '## Layers that differ', '', '| layer | op | parameters | MACs |', '|---|---|---:|---:|');
    for (const layer of differing.slice(0, 500)) {
      const pair = (key: 'parameters' | 'macs'): string =>
        `${cell(layer.a?.[key] ?? null, (n) => si(n))} → ${cell(layer.b?.[key] ?? null, (n) => si(n))}`;
      lines.push(`| ${code(layer.name)} | ${layer.op} | ${pair('parameters')} | ${pair('macs')} |`);
    }
  }
  for (const warning of warnings) lines.push('', `> ${escape(warning)}`);
  return `${lines.join('\n')}\n`;
}

/** Three significant digits with an SI prefix: 1.86 M, 350 kB, 12. */
function si(value: number, unit = ''): string {
  const power = Math.min(4, Math.floor(Math.log10(Math.max(1, Math.abs(value))) / 3));
  const number = power === 0 ? String(Math.round(value)) : (value / 1000 ** power).toPrecision(3);
  return `${number} ${['', 'k', 'M', 'G', 'T'][power]}${unit}`.trim();
}

/** Names come from model files: they must not become Markdown or HTML. */
function code(text: string): string {
  return `\`${text.replace(/[`|\r\n]/g, ' ')}\``;
}

function escape(text: string): string {
  return text.replace(/[\\`*_{}[\]<>()#+\-.!|]/g, '\\$&');
}

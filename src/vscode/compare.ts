import { basename } from 'node:path';
import * as vscode from 'vscode';
import type { CompareReport, SideReport } from '../formats.ts';
import type { DataSpec } from '../protocol.ts';
import type { CommandServices } from './commands.ts';
import { defaultsFromSettings } from './settings.ts';
import { currentData } from './view-memory.ts';

const SCHEME = 'secateur-report';

/** Reports that were made in this window, shown as rendered Markdown without writing a file. */
export class ReportDocuments implements vscode.TextDocumentContentProvider {
  private static readonly texts = new Map<string, string>();

  static register(): vscode.Disposable {
    return vscode.workspace.registerTextDocumentContentProvider(SCHEME, new ReportDocuments());
  }

  static async show(name: string, text: string): Promise<void> {
    const uri = vscode.Uri.from({ scheme: SCHEME, path: `/${name}`, query: String(ReportDocuments.texts.size) });
    ReportDocuments.texts.set(uri.toString(), text);
    try {
      await vscode.commands.executeCommand('markdown.showPreview', uri);
    } catch {
      // The built-in Markdown extension may be switched off: the text itself is readable.
      await vscode.window.showTextDocument(uri);
    }
  }

  provideTextDocumentContent(uri: vscode.Uri): string {
    return ReportDocuments.texts.get(uri.toString()) ?? '';
  }
}

/** Runs a comparison of two models on the first one's data, with progress that can be cancelled, and shows the report. */
export async function compareModels(services: CommandServices, a: vscode.Uri, b: vscode.Uri): Promise<void> {
  const data = await currentData(services.memento, a);
  const names = `${basename(a.fsPath)} and ${basename(b.fsPath)}`;
  const options = { location: vscode.ProgressLocation.Notification, title: `Comparing ${names}`, cancellable: true };
  const report = await vscode.window.withProgress(options, (progress, token) => {
    const abort = new AbortController();
    token.onCancellationRequested(() => abort.abort());
    const device = defaultsFromSettings(a).device ?? 'auto';
    return services.engine.request(
      'compare',
      { a: a.fsPath, b: b.fsPath, data, device },
      { signal: abort.signal, onProgress: ({ note }) => progress.report({ message: note }) },
    );
  });
  await ReportDocuments.show(`${basename(a.fsPath)} ↔ ${basename(b.fsPath)}.md`, compareMarkdown(report, data));
}

const ROWS: [keyof SideReport, string, (value: number) => string][] = [
  ['bytes', 'File', (value) => `${si(value)}B`],
  ['parameters', 'Parameters', si],
  ['macs', 'MACs', si],
  ['value', 'Metric', (value) => value.toPrecision(4)],
  ['holdout', 'Metric, held out', (value) => value.toPrecision(4)],
  ['latencyMs', 'Latency', (value) => `${value.toPrecision(3)} ms`],
];

/** The report as Markdown: totals, distance of the outputs, layers that differ. */
export function compareMarkdown(report: CompareReport, data: DataSpec): string {
  const { a, b, delta, changed, outputs, layers, warnings } = report;
  const cell = (value: number | null, show: (value: number) => string): string => (value === null ? '–' : show(value));
  const signed = (value: number | null, show: (value: number) => string): string =>
    value === null ? '–' : `${value > 0 ? '+' : value < 0 ? '−' : '±'}${show(Math.abs(value))}`;
  const lines = [
    `# ${basename(a.path)} ↔ ${basename(b.path)}`,
    '',
    `Data: ${data.path === null ? 'synthetic inputs (outputs are compared, no accuracy)' : code(data.path)}`,
    '',
    `| | ${code(basename(a.path))} | ${code(basename(b.path))} | difference |`,
    '|---|---:|---:|---:|',
    ...ROWS.filter(([key]) => a[key] !== null || b[key] !== null).map(
      ([key, name, show]) => `| ${name} | ${cell(a[key], show)} | ${cell(b[key], show)} | ${signed(delta[key], show)} |`,
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
  const differing = layers.filter((layer) => layer.a?.macs !== layer.b?.macs || layer.a?.parameters !== layer.b?.parameters);
  if (differing.length > 0) {
    lines.push('', '## Layers that differ', '', '| layer | op | parameters | MACs |', '|---|---|---:|---:|');
    for (const layer of differing.slice(0, 500)) {
      const pair = (key: 'parameters' | 'macs'): string => `${cell(layer.a?.[key] ?? null, si)} → ${cell(layer.b?.[key] ?? null, si)}`;
      lines.push(`| ${code(layer.name)} | ${layer.op} | ${pair('parameters')} | ${pair('macs')} |`);
    }
  }
  for (const warning of warnings) lines.push('', `> ${escape(warning)}`);
  return `${lines.join('\n')}\n`;
}

/** Three significant digits with an SI prefix. */
function si(value: number): string {
  const power = Math.min(4, Math.floor(Math.log10(Math.max(1, Math.abs(value))) / 3));
  const scaled = value / 1000 ** power;
  return `${power === 0 ? String(Math.round(value)) : scaled.toPrecision(3)} ${['', 'k', 'M', 'G', 'T'][power]}`;
}

/** Names come from model files: they must not become Markdown or HTML. */
function code(text: string): string {
  return `\`${text.replace(/[`|\r\n]/g, ' ')}\``;
}

function escape(text: string): string {
  return text.replace(/[\\`*_{}[\]<>()#+\-.!|]/g, '\\$&');
}

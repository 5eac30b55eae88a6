import { basename } from 'node:path';
import * as vscode from 'vscode';
import { compareMarkdown } from './compare-markdown.ts';
import type { CommandServices } from './commands.ts';
import { defaultsFromSettings } from './settings.ts';

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
  const data = await services.memory.currentData(a);
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

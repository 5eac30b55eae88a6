import * as vscode from 'vscode';
import { ENGINE_FILE } from './engine/process/client.ts';
import { registerCommands } from './vscode/commands.ts';
import { ReportDocuments } from './vscode/compare.ts';
import { EngineService } from './vscode/engine-service.ts';
import { HostActions } from './vscode/host-actions.ts';
import { Memory } from './vscode/memory.ts';
import { ModelEditorProvider } from './vscode/model-editor.ts';

let engine: EngineService | undefined;

/** Called by VS Code when a model is opened or a command is run for the first time. */
export function activate(context: vscode.ExtensionContext): void {
  // The engine's environment has this as well; here it covers whatever else might load onnxruntime in this process.
  process.env.ORT_DISABLE_TELEMETRY = '1';
  const log = vscode.window.createOutputChannel('Secateur', { log: true });
  engine = new EngineService(
    vscode.Uri.joinPath(context.extensionUri, 'dist', ENGINE_FILE).fsPath,
    vscode.Uri.joinPath(context.globalStorageUri, 'coalitions').fsPath,
    log,
  );
  const memory = new Memory(context, log);
  const actions = new HostActions(engine, log);
  const editors = new ModelEditorProvider(context.extensionUri, { engine, memory, log }, actions);
  context.subscriptions.push(
    log,
    engine,
    ModelEditorProvider.register(editors),
    ReportDocuments.register(),
    registerCommands({ editors, engine, actions, memory, log }),
  );
  log.info(
    `Secateur ${context.extension.packageJSON.version} on ${process.platform}-${process.arch}, node ${process.version}`,
  );
}

/** VS Code waits for this: the engine gets the time to remove unfinished files. */
export async function deactivate(): Promise<void> {
  await engine?.shutDown();
}

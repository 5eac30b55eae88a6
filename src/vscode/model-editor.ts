import * as vscode from 'vscode';
import { SecateurError } from '../errors.ts';
import type { HostEvent } from '../protocol.ts';
import type { HostActions } from './host-actions.ts';
import { EDITOR } from './host-actions.ts';
import { editorHtml } from './html.ts';
import type { SessionServices } from './model-session.ts';
import { ModelSession } from './model-session.ts';
import { WebviewRouter } from './router.ts';

interface ModelDocument extends vscode.CustomDocument {
  readonly session: ModelSession;
}

/** The read-only editor for `*.onnx` files. One session per model, however many tabs show it. */
export class ModelEditorProvider implements vscode.CustomReadonlyEditorProvider<ModelDocument> {
  private readonly sessions = new Map<string, ModelSession>();
  /** Events for models that are being opened. */
  private readonly early = new Map<string, HostEvent>();
  private readonly extensionUri: vscode.Uri;
  private readonly services: SessionServices;
  private readonly actions: HostActions;
  private activeUri: vscode.Uri | null = null;

  constructor(extensionUri: vscode.Uri, services: SessionServices, actions: HostActions) {
    this.extensionUri = extensionUri;
    this.services = services;
    this.actions = actions;
  }

  static register(provider: ModelEditorProvider): vscode.Disposable {
    return vscode.window.registerCustomEditorProvider(EDITOR, provider, { supportsMultipleEditorsPerDocument: true });
  }

  /** The model whose tab has the focus. */
  get activeModel(): vscode.Uri | null {
    return this.activeUri;
  }

  /** Opens the model, or shows its tab. The event, if any, reaches its view as soon as there is one. */
  async open(uri: vscode.Uri, event?: HostEvent): Promise<void> {
    const key = uri.toString();
    const session = this.sessions.get(key);
    if (event && !session) this.early.set(key, event);
    await vscode.commands.executeCommand('vscode.openWith', uri, EDITOR);
    if (event) session?.deliver(event);
  }

  /** The session of a model that is open. */
  session(uri: vscode.Uri): ModelSession | undefined {
    return this.sessions.get(uri.toString());
  }

  openCustomDocument(uri: vscode.Uri): ModelDocument {
    if (uri.scheme !== 'file') {
      throw new SecateurError(
        'unsupported',
        `Secateur opens models on disk, not from ${uri.scheme}.`,
        'Save the file first.',
      );
    }
    const session = new ModelSession(uri, this.services);
    this.sessions.set(uri.toString(), session);
    const event = this.early.get(uri.toString());
    this.early.delete(uri.toString());
    if (event) session.deliver(event);
    return {
      uri,
      session,
      dispose: () => {
        session.dispose();
        if (this.sessions.get(uri.toString()) === session) this.sessions.delete(uri.toString());
      },
    };
  }

  resolveCustomEditor(document: ModelDocument, panel: vscode.WebviewPanel): void {
    const { webview } = panel;
    webview.options = {
      enableScripts: true,
      enableCommandUris: false,
      localResourceRoots: ['dist', 'media'].map((folder) => vscode.Uri.joinPath(this.extensionUri, folder)),
    };
    const router = new WebviewRouter(webview, document.session, this.actions, this.services.log);
    const subscriptions = [
      webview.onDidReceiveMessage((message) => router.receive(message)),
      panel.onDidChangeViewState(() => {
        // VS Code throws the page of a hidden tab away.
        if (!panel.visible) router.leave();
        this.noteFocus(document.uri, panel);
      }),
    ];
    panel.onDidDispose(() => {
      router.leave();
      if (this.activeUri?.toString() === document.uri.toString()) this.activeUri = null;
      vscode.Disposable.from(...subscriptions).dispose();
    });
    this.noteFocus(document.uri, panel);
    webview.html = editorHtml(webview, this.extensionUri, document.uri.path.split('/').pop() ?? 'model');
  }

  private noteFocus(uri: vscode.Uri, panel: vscode.WebviewPanel): void {
    if (panel.active) this.activeUri = uri;
    else if (this.activeUri?.toString() === uri.toString()) this.activeUri = null;
  }
}

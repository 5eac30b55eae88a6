import { startApp } from './app.ts';
import type { VsCodeApi } from './rpc.ts';
import { registerToolkit } from './ui/toolkit.ts';

declare function acquireVsCodeApi(): VsCodeApi;

registerToolkit();
const root = document.getElementById('app');
if (root) startApp(acquireVsCodeApi(), root);

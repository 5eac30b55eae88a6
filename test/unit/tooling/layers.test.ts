import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Linter } from 'eslint';
import tseslint from 'typescript-eslint';
import { describe, expect, it } from 'vitest';
import { LINES, importProblem, layers } from '../../../scripts/lint/layers.mjs';

const root = join(import.meta.dirname, '../../..');

describe('the layer rule', () => {
  it.each([
    ['src/units/analyse.ts', '../graph/ir.ts'],
    ['src/units/analyse.ts', './flow.ts'],
    ['src/graph/shapes/conv.ts', '../ir.ts'],
    ['src/math/random.ts', '../errors.ts'],
    ['src/protocol.ts', './formats.ts'],
    ['src/extension.ts', './vscode/editor.ts'],
    ['src/extension.ts', 'vscode'],
    ['src/vscode/editor.ts', 'vscode'],
    ['src/runtime/onnxruntime.ts', 'onnxruntime-node'],
    ['src/cli/main.ts', '../../package.json'],
    ['webview/main.ts', './views/overview.ts'],
    ['webview/ui/controls.ts', '@vscode/webview-ui-toolkit'],
    ['test/unit/graph/load.test.ts', '../../../src/graph/load.ts'],
  ])('allows %s to import %s', (from, specifier) => {
    expect(importProblem(from, specifier, false)).toBeNull();
  });

  it.each([
    ['src/graph/load.ts', '../units/types.ts', /down only/],
    ['src/onnx/tensor.ts', '../graph/ir.ts', /down only/],
    ['src/errors.ts', './formats.ts', /down only/],
    ['src/pruning/surgery.ts', '../exits/attach.ts', /side by side/],
    ['src/cli/main.ts', '../vscode/editor.ts', /side by side/],
    ['src/ranking/registry.ts', '../engine/main.ts', /down only/],
    ['src/ranking/registry.ts', '../elsewhere/x.ts', /no place in the layers/],
    ['src/engine/main.ts', '../../webview/main.ts', /complete in itself/],
    ['src/engine/main.ts', 'vscode', /only in/],
    ['src/graph/load.ts', 'onnxruntime-node', /only in/],
    ['webview/views/ranks.ts', '../../src/math/statistics.ts', /only types/],
    ['webview/views/ranks.ts', '../../src/protocol.ts', /import type/],
    ['webview/views/ranks.ts', '@vscode/webview-ui-toolkit', /only in/],
    ['webview/views/ranks.ts', 'node:fs', /browser/],
    ['webview/views/ranks.ts', 'vscode', /only in/],
  ])('forbids %s to import %s', (from, specifier, why) => {
    expect(importProblem(from, specifier, false)).toMatch(why);
  });

  it('counts types too, but lets the webview share the types of the messages', () => {
    expect(importProblem('src/graph/load.ts', '../units/types.ts', true)).toMatch(/down only/);
    expect(importProblem('webview/main.ts', '../src/protocol.ts', true)).toBeNull();
  });

  it('gives every folder of src a place', () => {
    const known = LINES.flat();
    const there = readdirSync(join(root, 'src'));
    expect(there.filter((name) => !known.includes(name))).toEqual([]);
  });

  it.each([
    `import { x } from '../units/types.ts';`,
    `import type { X } from '../units/types.ts';`,
    `export { x } from '../units/types.ts';`,
    `export * from '../units/types.ts';`,
    `const x = await import('../units/types.ts');`,
    `type X = import('../units/types.ts').X;`,
    `const x = require('../units/types.ts');`,
  ])('fires in ESLint on %s', (code) => {
    const linter = new Linter({ cwd: root });
    const config: Linter.Config = {
      files: ['**/*.ts'],
      languageOptions: { parser: tseslint.parser as Linter.Parser },
      plugins: { secateur: { rules: { layers } } },
      rules: { 'secateur/layers': 'error' },
    };
    const messages = linter.verify(code, [config], { filename: join(root, 'src/graph/load.ts') });
    expect(messages.map((m) => m.message)).toEqual(['Imports go down only: graph lies below units.']);
  });

  it('is switched on in the configuration of this repository', async () => {
    expect(existsSync(join(root, 'eslint.config.mjs'))).toBe(true);
    const { ESLint } = await import('eslint');
    const eslint = new ESLint({ cwd: root });
    for (const file of ['src/errors.ts', 'webview/main.ts']) {
      const config = (await eslint.calculateConfigForFile(join(root, file))) as { rules: Record<string, unknown[]> };
      expect(config.rules['secateur/layers'][0]).toBe(2);
    }
  });
});

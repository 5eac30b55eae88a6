/**
 * The layer rule: imports go down only. `LINES` is the order of docs/architecture.md from the top to the bottom; an entry
 * is a folder or a file of `src/`. A file may import from its own entry and from lines below, not from its own line's
 * other entries and not from above. Also kept here: who may import `vscode` and `onnxruntime-node`, and that the webview
 * takes nothing but types from `src/protocol.ts` and `src/formats.ts`.
 */
import { isBuiltin } from 'node:module';
import path from 'node:path';

export const LINES = [
  ['extension.ts'],
  ['vscode', 'cli'],
  ['engine'],
  ['pruning', 'experts', 'exits', 'features'],
  ['ranking', 'training'],
  ['evaluation'],
  ['runtime', 'autodiff'],
  ['units'],
  ['graph'],
  ['onnx'],
  ['math'],
  ['protocol.ts'],
  ['formats.ts'],
  ['formats'],
  ['errors.ts'],
];

/** Packages that only some places may import: each name with the paths (from the root) that may. */
export const RESERVED = {
  vscode: ['src/extension.ts', 'src/vscode/', 'test/host/', 'test/e2e/'],
  'onnxruntime-node': ['src/runtime/', 'test/', 'bench/'],
  'onnxruntime-common': ['src/runtime/', 'test/', 'bench/'],
  '@vscode/webview-ui-toolkit': ['webview/ui/'],
};

const WEBVIEW_MAY_SHARE = ['src/protocol.ts', 'src/formats.ts'];

/** The entry of `LINES` that a path below `src/` belongs to: `graph` for `src/graph/shapes/conv.ts`. */
function entryOf(file) {
  return file.split('/')[1];
}

function lineOf(entry) {
  return LINES.findIndex((line) => line.includes(entry));
}

/**
 * Why an import is not allowed, or null when it is.
 * @param {string} from path of the importing file, relative to the root, with forward slashes
 * @param {string} specifier what stands in the import
 * @param {boolean} typeOnly the import vanishes when types are stripped
 * @returns {string | null}
 */
export function importProblem(from, specifier, typeOnly) {
  if (!specifier.startsWith('.')) return packageProblem(from, specifier);
  const target = path.posix.normalize(path.posix.join(path.posix.dirname(from), specifier));
  if (from.startsWith('webview/')) {
    if (target.startsWith('webview/')) return null;
    if (!WEBVIEW_MAY_SHARE.includes(target))
      return `The webview may import only types from ${WEBVIEW_MAY_SHARE.join(' and ')}, not ${target}.`;
    return typeOnly ? null : `The webview shares only types with src: use 'import type' for ${target}.`;
  }
  if (!from.startsWith('src/')) return null;
  if (target === 'package.json') return null;
  if (!target.startsWith('src/')) return `src/ is complete in itself: it must not import ${target}.`;
  const [here, there] = [entryOf(from), entryOf(target)];
  if (here === there) return null;
  const [lineHere, lineThere] = [lineOf(here), lineOf(there)];
  if (lineHere < 0) return `src/${here} has no place in the layers: give it one in scripts/lint/layers.mjs.`;
  if (lineThere < 0) return `src/${there} has no place in the layers: give it one in scripts/lint/layers.mjs.`;
  if (lineHere === lineThere) return `${here} and ${there} are side by side: they must not import each other.`;
  return lineHere < lineThere ? null : `Imports go down only: ${here} lies below ${there}.`;
}

function packageProblem(from, specifier) {
  for (const [name, places] of Object.entries(RESERVED)) {
    if (specifier !== name && !specifier.startsWith(`${name}/`)) continue;
    if (!places.some((p) => from === p || (p.endsWith('/') && from.startsWith(p))))
      return `'${name}' may be imported only in ${places.join(', ')}.`;
  }
  if (from.startsWith('webview/') && isBuiltin(specifier))
    return `The webview runs in a browser: there is no '${specifier}'.`;
  return null;
}

/** `layers`: the rule for ESLint. */
export const layers = {
  meta: {
    type: 'problem',
    docs: { description: 'imports go down the layers only' },
    schema: [],
    messages: { layer: '{{problem}}' },
  },
  create(context) {
    const from = path.relative(context.cwd, context.filename).split(path.sep).join('/');
    const check = (source, typeOnly) => {
      if (source?.type !== 'Literal' || typeof source.value !== 'string') return;
      const problem = importProblem(from, source.value, typeOnly);
      if (problem) context.report({ node: source, messageId: 'layer', data: { problem } });
    };
    return {
      ImportDeclaration: (node) => check(node.source, node.importKind === 'type'),
      ExportAllDeclaration: (node) => check(node.source, node.exportKind === 'type'),
      ExportNamedDeclaration: (node) => check(node.source, node.exportKind === 'type'),
      ImportExpression: (node) => check(node.source, false),
      TSImportType: (node) => check(node.source ?? node.argument?.literal, true),
      TSExternalModuleReference: (node) => check(node.expression, false),
      CallExpression: (node) => {
        if (node.callee.type === 'Identifier' && node.callee.name === 'require') check(node.arguments[0], false);
      },
    };
  },
};

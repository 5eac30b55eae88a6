/**
 * Bundles everything into dist/: `node esbuild.mjs [--watch] [--minify] [NAME…]`; names (extension, engine, cli, webview) pick some.
 * extension.cjs (extension host), engine.cjs (engine process), cli.mjs (the command `secateur`), webview.js + webview.css.
 * onnxruntime-node stays outside of the engine: it finds its native library beside its own files. Of the others no module
 * may reach it, or they cannot be built.
 */
import { chmod, writeFile } from 'node:fs/promises';
import esbuild from 'esbuild';

const watch = process.argv.includes('--watch');
const minify = process.argv.includes('--minify');

/** @type {esbuild.BuildOptions} */
const shared = {
  bundle: true,
  outdir: 'dist',
  metafile: true,
  sourcemap: !minify,
  minify,
  // Error names and messages are shown to people; keep them readable in minified builds.
  keepNames: minify,
  legalComments: 'none',
  logLevel: 'info',
};
/** @type {esbuild.BuildOptions} */
const node = { ...shared, platform: 'node', target: 'node20' };

/** @type {esbuild.BuildOptions[]} */
const all = [
  {
    ...node,
    entryPoints: { extension: 'src/extension.ts' },
    format: 'cjs',
    outExtension: { '.js': '.cjs' },
    external: ['vscode'],
  },
  {
    ...node,
    entryPoints: { engine: 'src/engine/main.ts' },
    format: 'cjs',
    outExtension: { '.js': '.cjs' },
    external: ['onnxruntime-node'],
  },
  {
    ...node,
    entryPoints: { cli: 'src/cli/main.ts' },
    format: 'esm',
    outExtension: { '.js': '.mjs' },
    banner: {
      // Dependencies in CommonJS call require for modules of node.
      js: "#!/usr/bin/env node\nimport { createRequire as __createRequire } from 'node:module';\nconst require = __createRequire(import.meta.url);",
    },
  },
  {
    ...shared,
    entryPoints: { webview: 'webview/main.ts' },
    platform: 'browser',
    target: 'chrome128',
    format: 'iife',
    tsconfig: 'webview/tsconfig.json',
  },
  {
    ...shared,
    entryPoints: { webview: 'webview/styles/main.css' },
    target: 'chrome128',
    loader: { '.ttf': 'file' },
    assetNames: '[name]',
  },
];

const names = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const bundles = all.filter(({ entryPoints }) => names.length === 0 || names.includes(Object.keys(entryPoints)[0]));

if (watch) {
  const contexts = await Promise.all(bundles.map((options) => esbuild.context(options)));
  await Promise.all(contexts.map((context) => context.watch()));
} else {
  const outcomes = await Promise.allSettled(bundles.map((options) => esbuild.build(options)));
  // esbuild has printed what is wrong; the bundles that are right are there.
  if (outcomes.some(({ status }) => status === 'rejected')) process.exit(1);
  if (names.length === 0 || names.includes('cli')) await chmod('dist/cli.mjs', 0o755);
  if (names.length === 0) {
    // What went into the bundles, for the third-party notices.
    const merged = { inputs: {}, outputs: {} };
    for (const { value } of outcomes) {
      Object.assign(merged.inputs, value.metafile.inputs);
      Object.assign(merged.outputs, value.metafile.outputs);
    }
    await writeFile('dist/meta.json', JSON.stringify(merged));
  }
}

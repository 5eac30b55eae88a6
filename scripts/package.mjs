/**
 * Makes the VSIX of one platform: `node scripts/package.mjs [--target linux-x64] [--out FILE]`.
 * It holds the bundles, the documents and onnxruntime with the native library of that platform alone.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createVSIX } from '@vscode/vsce';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const bin = 'node_modules/onnxruntime-node/bin';

/** Platforms that onnxruntime-node brings a library for: `linux-x64` → its folder. */
export function availableTargets() {
  const found = {};
  for (const api of readdirSync(join(root, bin))) {
    for (const os of readdirSync(join(root, bin, api))) {
      for (const cpu of readdirSync(join(root, bin, api, os))) found[`${os}-${cpu}`] = `${bin}/${api}/${os}/${cpu}`;
    }
  }
  return found;
}

/** Packages the built extension. @returns {Promise<string>} path of the VSIX */
export async function packageExtension(target, out) {
  const targets = availableTargets();
  if (!targets[target]) {
    throw new Error(`onnxruntime has no library for ${target}. There are: ${Object.keys(targets).join(', ')}.`);
  }
  const { name, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const packagePath = out ?? join(root, `${name}-${target}-${version}.vsix`);
  const scratch = mkdtempSync(join(tmpdir(), 'secateur-package-'));
  try {
    const ignoreFile = join(scratch, 'vscodeignore');
    writeFileSync(ignoreFile, `${readFileSync(join(root, '.vscodeignore'), 'utf8')}\n!${targets[target]}/**\n`);
    await createVSIX({
      cwd: root,
      target,
      packagePath,
      ignoreFile,
      dependencies: true,
      allowMissingRepository: true,
      rewriteRelativeLinks: false,
    });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return packagePath;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { target: { type: 'string' }, out: { type: 'string' } } });
  const target = values.target ?? `${process.platform}-${process.arch}`;
  try {
    execFileSync(process.execPath, ['esbuild.mjs', '--minify'], { cwd: root, stdio: 'inherit' });
    if (existsSync(join(root, 'scripts', 'notices.mjs'))) {
      execFileSync(process.execPath, ['scripts/notices.mjs'], { cwd: root, stdio: 'inherit' });
    }
    const path = await packageExtension(target, values.out);
    console.log(`${path}: ${(statSync(path).size / 1e6).toFixed(1)} MB`);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}

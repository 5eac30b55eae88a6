/**
 * Writes NOTICES.md: names, versions and licence texts of all third-party code that is shipped, which is what the bundles
 * in dist/ were made from (dist/meta.json, written by esbuild.mjs) and the packages that are shipped beside them.
 * `node scripts/notices.mjs` after a build; part of `npm run package`.
 */
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Stop, main, root } from './setup.mjs';

/** Shipped as packages: their native libraries cannot be bundled. */
const BESIDE = ['onnxruntime-node', 'onnxruntime-common'];

const MIT = `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`;

const BSD3 = `Redistribution and use in source and binary forms, with or without modification, are permitted provided that the
following conditions are met:

* Redistributions of source code must retain the above copyright notice, this list of conditions and the following
  disclaimer.
* Redistributions in binary form must reproduce the above copyright notice, this list of conditions and the following
  disclaimer in the documentation and/or other materials provided with the distribution.
* Neither the name of Google Inc. nor the names of its contributors may be used to endorse or promote products derived
  from this software without specific prior written permission.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES,
INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT OWNER OR CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL,
SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR
SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY,
WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF
THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.`;

/** Texts for packages that bring none, by name. The Apache licence is TypeScript's copy of it. */
function fallback(name) {
  if (/^(@microsoft\/fast-|onnxruntime-)/.test(name)) return [`Copyright (c) Microsoft Corporation\n\n${MIT}`];
  if (name === '@bufbuild/protobuf') {
    const apache = read('node_modules/typescript/LICENSE.txt');
    return [
      `Copyright Buf Technologies, Inc.\n\n${apache}`,
      `Copyright 2008 Google Inc. All rights reserved.\n\n${BSD3}`,
    ];
  }
  throw new Stop(`${name} brings no licence text: add one to scripts/notices.mjs.`);
}

/** Text of a file, from the root, with plain line ends. */
function read(path) {
  return readFileSync(join(root, path), 'utf8').replace(/\r\n/g, '\n').trim();
}

/** Folders of the packages that the bundles contain: `node_modules/a`, also nested ones. */
function bundled() {
  const meta = join(root, 'dist', 'meta.json');
  if (!existsSync(meta)) throw new Stop('There is no dist/meta.json: run npm run build first.');
  const folders = new Set();
  for (const file of Object.keys(JSON.parse(readFileSync(meta, 'utf8')).inputs)) {
    const match = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(file);
    if (match) folders.add(match[1]);
  }
  return [...folders];
}

function describe(folder) {
  const { name, version, license, licenses, homepage, repository } = JSON.parse(
    readFileSync(join(root, folder, 'package.json'), 'utf8'),
  );
  const kind = license ?? licenses?.map((l) => l.type).join(', ') ?? 'not stated';
  const source = homepage ?? repository?.url ?? repository ?? '';
  const texts = readdirSync(join(root, folder))
    .filter((file) => /^(licen[cs]e|copying|notice|thirdpartynotices)/i.test(file) && !/\.(js|ts|json)$/.test(file))
    .sort()
    .map((file) => read(join(folder, file)));
  return {
    name,
    version,
    kind,
    source: String(source).replace(/^git\+/, ''),
    texts: texts.length > 0 ? texts : fallback(name),
  };
}

/** Every text once, in the order of the packages that bring it. */
function packagesByText(packages) {
  const found = new Map();
  for (const { name, version, texts } of packages)
    for (const text of texts) found.set(text, [...(found.get(text) ?? []), `${name} ${version}`]);
  return found;
}

await main(() => {
  const packages = [
    ...bundled(),
    ...BESIDE.map((name) => `node_modules/${name}`).filter((f) => existsSync(join(root, f))),
  ]
    .map(describe)
    .sort((a, b) => a.name.localeCompare(b.name) || a.version.localeCompare(b.version));
  const unique = packages.filter(
    (p, i) => i === 0 || p.name !== packages[i - 1].name || p.version !== packages[i - 1].version,
  );
  const lines = [
    '# Third-party notices',
    '',
    'Secateur contains code of these packages. Each is under its own licence: the texts follow, each with the packages that',
    'bring it.',
    '',
    '| package | version | licence | source |',
    '|---|---|---|---|',
    ...unique.map((p) => `| ${p.name} | ${p.version} | ${p.kind} | ${p.source} |`),
  ];
  for (const [text, names] of packagesByText(unique))
    lines.push('', `## ${names.join(', ')}`, '', `\`\`\`\`text\n${text}\n\`\`\`\``);
  writeFileSync(join(root, 'NOTICES.md'), `${lines.join('\n')}\n`);
  console.log(`NOTICES.md: ${unique.length} packages.`);
});

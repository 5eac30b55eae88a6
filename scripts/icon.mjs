/**
 * Draws media/icon.png (128×128: the Marketplace's and the editor's icon) from media/icon.svg with headless Chromium:
 * `node scripts/icon.mjs`. For developers: the result is committed.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decode, encode } from 'fast-png';
import { Stop, main, root, which } from './setup.mjs';

const SIZE = 128;
/** Chromium's windows have a least size, so the drawing is made this much larger and averaged down. */
const SCALE = 4;

/** Mean of SCALE × SCALE pixels, colours weighted by their opacity. */
function shrink({ width, height, data }) {
  const out = new Uint8Array((width / SCALE) * (height / SCALE) * 4);
  for (let y = 0; y < height / SCALE; y++) {
    for (let x = 0; x < width / SCALE; x++) {
      const sum = [0, 0, 0, 0];
      for (let k = 0; k < SCALE * SCALE; k++) {
        const at = ((y * SCALE + Math.floor(k / SCALE)) * width + x * SCALE + (k % SCALE)) * 4;
        for (let c = 0; c < 3; c++) sum[c] += data[at + c] * data[at + 3];
        sum[3] += data[at + 3];
      }
      const to = ((y * width) / SCALE + x) * 4;
      for (let c = 0; c < 3; c++) out[to + c] = sum[3] ? Math.round(sum[c] / sum[3]) : 0;
      out[to + 3] = Math.round(sum[3] / (SCALE * SCALE));
    }
  }
  return { width: width / SCALE, height: height / SCALE, data: out, channels: 4, depth: 8 };
}

await main(() => {
  const chromium =
    process.env.SECATEUR_CHROMIUM ?? ['chromium', 'chromium-browser', 'google-chrome'].map(which).find(Boolean);
  if (!chromium) throw new Stop('Drawing the icon needs Chromium on the PATH.');
  const folder = mkdtempSync(join(tmpdir(), 'secateur-icon-'));
  try {
    const side = SIZE * SCALE;
    const [page, shot] = [join(folder, 'icon.html'), join(folder, 'icon.png')];
    const svg = readFileSync(join(root, 'media/icon.svg'), 'utf8').replace(
      '<svg ',
      `<svg width="${side}" height="${side}" `,
    );
    writeFileSync(page, `<!doctype html><style>body{margin:0}svg{display:block}</style>${svg}`);
    const flags = [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--hide-scrollbars',
      '--default-background-color=00000000',
    ];
    const files = [`--user-data-dir=${join(folder, 'profile')}`, `--screenshot=${shot}`, `file://${page}`];
    execFileSync(chromium, [...flags, `--window-size=${side},${side}`, ...files], { stdio: 'ignore' });
    writeFileSync(join(root, 'media/icon.png'), encode(shrink(decode(readFileSync(shot)))));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

/**
 * Ranks by WebGPU against ranks by the processor: `node test/webgpu/ranks.mjs`, after a build.
 * Runs without a GPU on SwiftShader, the software renderer that comes with Chromium; it is slow, so that little is asked.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = fileURLToPath(new URL('../..', import.meta.url));
const example = join(root, 'examples', 'digits');
/** Largest difference of scores, relative to the largest score. */
const TOLERANCE = 1e-3;
const METHODS = ['shapley', 'taylor', 'dirichlet', 'activation'];

const home = mkdtempSync(join(tmpdir(), 'secateur-webgpu-'));
const env = { ...process.env, XDG_RUNTIME_DIR: home, SECATEUR_CACHE: '', ...softwareDriver() };

/** The driver that lies beside Chromium, unless the environment names another or the machine has one of its own. */
function softwareDriver() {
  if (process.env.VK_ICD_FILENAMES || process.env.VK_DRIVER_FILES) return {};
  const folders = ['/usr/lib/chromium', '/usr/lib/chromium-browser', dirname(process.env.SECATEUR_CHROMIUM ?? '/')];
  const file = folders.map((folder) => join(folder, 'vk_swiftshader_icd.json')).find((path) => existsSync(path));
  return file ? { VK_ICD_FILENAMES: file } : {};
}

/** Ranks by all methods: one run, because shaders are compiled anew in each. */
async function rank(device) {
  const args = ['rank', join(example, 'model.onnx'), '--data', join(example, 'calib.npz'), '--method', METHODS.join()];
  const few = ['--samples', '4', '--group', 'block3/conv1', '--budget', '16', '--metric', 'cross-entropy'];
  const command = [join(root, 'dist', 'cli.mjs'), ...args, ...few, '--device', device, '--json'];
  const { stdout } = await promisify(execFile)(process.execPath, command, {
    env,
    maxBuffer: 1 << 26,
    timeout: 240_000,
  });
  return JSON.parse(stdout).methods;
}

let failed = 0;
try {
  const [here, there] = [await rank('cpu'), await rank('webgpu')];
  for (const [m, method] of METHODS.entries()) {
    const name = `${method} on WebGPU is that on the processor`;
    if (there[m].device !== 'webgpu') {
      console.log(`skip  ${name}: ${there[m].warnings.find((w) => w.includes('webgpu')) ?? 'there is no device'}`);
      continue;
    }
    const [a, b] = [here[m], there[m]].map((ranks) => ranks.groups[0].units.map((u) => u.score));
    const largest = Math.max(...a.map(Math.abs));
    const off = Math.max(...a.map((score, i) => Math.abs(score - b[i]))) / largest;
    const right = largest > 0 && off <= TOLERANCE;
    console.log(`${right ? 'ok  ' : 'FAIL'}  ${name}: differs by ${off.toExponential(1)} of the largest score`);
    if (!right) failed++;
  }
} catch (error) {
  failed++;
  console.log(`FAIL  ranks on both devices\n${error.message}`);
} finally {
  rmSync(home, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;

/** Looks at models from outside: with onnxruntime directly and with the command line, never through the editor. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import esbuild from 'esbuild';
import { unzipSync } from 'fflate';

// Before the library loads: these tests assert that nothing is collected.
process.env.ORT_DISABLE_TELEMETRY = '1';
const ort = (await import('onnxruntime-node')).default;

const ARRAYS = { '<f4': Float32Array, '<i8': BigInt64Array, '<i4': Int32Array, '|u1': Uint8Array };

/** Arrays of an .npz file by name: `{ dims, data }`. */
export function readNpz(path) {
  const arrays = {};
  for (const [file, bytes] of Object.entries(unzipSync(readFileSync(path)))) {
    const header = new DataView(bytes.buffer, bytes.byteOffset).getUint16(8, true);
    const text = new TextDecoder().decode(bytes.subarray(10, 10 + header));
    const [, type] = /'descr': '([^']+)'/.exec(text);
    const dims = [.../'shape': \(([^)]*)\)/.exec(text)[1].matchAll(/\d+/g)].map(Number);
    // A copy: typed arrays need aligned bytes.
    arrays[file.replace(/\.npy$/, '')] = { dims, data: new ARRAYS[type](bytes.slice(10 + header).buffer) };
  }
  return arrays;
}

/** Outputs of a model with one input for all samples of `x`: `{ dims, data }`. */
export async function outputs(model, { dims, data }) {
  const session = await ort.InferenceSession.create(model, { logSeverityLevel: 3 });
  try {
    const [input] = session.inputNames;
    const result = await session.run({ [input]: new ort.Tensor('float32', data, dims) });
    return result[session.outputNames[0]];
  } finally {
    await session.release();
  }
}

/** Share of samples whose largest output is the label's. */
export async function accuracy(model, npz) {
  const { x, labels } = readNpz(npz);
  const { dims, data } = await outputs(model, x);
  const classes = dims[1];
  let right = 0;
  for (let n = 0; n < dims[0]; n++) {
    const row = data.subarray(n * classes, (n + 1) * classes);
    if (row.indexOf(Math.max(...row)) === Number(labels.data[n])) right++;
  }
  return right / dims[0];
}

/** Runs a command line and returns the JSON that it prints. */
export async function secateurAt(cli, ...args) {
  const { stdout } = await promisify(execFile)(process.execPath, [cli, ...args, '--json'], { maxBuffer: 1 << 28 });
  return JSON.parse(stdout);
}

/** The command line of this folder, as it was last built. */
export function secateur(...args) {
  return secateurAt(new URL('../../dist/cli.mjs', import.meta.url).pathname, ...args);
}

/** Bundles zeroed.ts, which is written in TypeScript because it uses the project's reader of model files. */
export async function zeroedModel(...args) {
  const { outputFiles } = await esbuild.build({
    entryPoints: [new URL('./zeroed.ts', import.meta.url).pathname],
    bundle: true,
    write: false,
    platform: 'node',
    format: 'esm',
    logLevel: 'error',
  });
  const module = await import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString('base64')}`);
  return module.zeroedModel(...args);
}

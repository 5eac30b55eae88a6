import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';

/** What must not happen while all that happened. */
export async function leaveNothing({ harness, workbench, home, digits }) {
  await harness.check('no telemetry files were written, although CI is unset', () => {
    const telemetry = readdirSync(home, { recursive: true }).filter((path) => /\.onnxruntime(\/|$)/.test(path));
    assert.deepEqual(telemetry, []);
  });

  await harness.check('nothing outside this machine was asked for, and the content policy held', () => {
    assert.deepEqual(workbench.outside, []);
    const refused = workbench.console.filter(
      (line) => /Content Security Policy/i.test(line) && /secateur|webview\.js/i.test(line),
    );
    assert.deepEqual(refused, []);
    assert.deepEqual(
      workbench.console.filter((line) => line.startsWith('pageerror')),
      [],
    );
  });

  await harness.check('no unfinished files lie beside the model', () => {
    assert.deepEqual(readdirSync(digits).sort(), [
      'calib.npz',
      'heldout.npz',
      'model.onnx',
      'model.plan.json',
      'model.pruned.onnx',
    ]);
  });
}

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { SecateurError } from '../../../src/errors.ts';
import { modelCost } from '../../../src/graph/cost.ts';
import { removeDeadNodes } from '../../../src/graph/edit.ts';
import { loadModel, parseModel } from '../../../src/graph/load.ts';
import { allTensors, serializeModel } from '../../../src/graph/save.ts';
import { inferShapes } from '../../../src/graph/shapes/index.ts';
import type { Model } from '../../../src/graph/ir.ts';
import { builder, numbers } from '../../support/build.ts';
import { everything, randomBytes } from '../../support/everything.ts';
import { temporaryFolder } from '../../support/temporary.ts';

/** Does with a model all that happens when a file is opened. */
function use(open: () => Model): void {
  try {
    const model = open();
    inferShapes(model);
    modelCost(model);
    for (const tensor of allTensors(model)) {
      try {
        if (tensor.elementCount < 1e6) tensor.bytes();
      } catch (error) {
        expect(error).toBeInstanceOf(SecateurError);
      }
    }
    removeDeadNodes(model);
    serializeModel(model);
  } catch (error) {
    if (!(error instanceof SecateurError)) throw error;
    expect(error.message).not.toContain('\n');
    expect(error.message.length).toBeLessThan(400);
  }
}

function network(): Uint8Array {
  const b = builder();
  const x = b.input('x', ['N', 3, 8, 8]);
  const y = b.relu(b.bn(b.conv(x, 3, 8, 3, { pads: [1, 1, 1, 1] }), 8));
  const z = b.add(y, b.conv(y, 8, 8, 1));
  const shape = b.op('Shape', [z]);
  const flat = b.op('Reshape', [b.globalPool(z), b.concat([b.op('Gather', [shape, b.ints([0])]), b.ints([-1])], 0)]);
  b.output(b.softmax(b.gemm(flat, 8, 300)));
  return b.bytes();
}

describe('damaged files give one clear sentence', () => {
  const folder = temporaryFolder();
  const path = join(folder, 'damaged.onnx');
  const both = (bytes: Uint8Array) => {
    use(() => parseModel(bytes));
    writeFileSync(path, bytes);
    use(() => loadModel(path));
  };

  test.each([
    ['a network', network()],
    ['everything', everything()],
  ])('%s, cut off anywhere', (_, bytes) => {
    const next = numbers(bytes.length);
    for (let i = 0; i < 60; i++) both(bytes.subarray(0, Math.floor(((next() + 1) / 2) * bytes.length)));
  });

  test.each([
    ['a network', network(), 100],
    ['everything', everything(), 60],
  ])('%s, with wrong bytes', (_, bytes, times) => {
    const next = numbers(11);
    for (let i = 0; i < times; i++) {
      const copy = bytes.slice();
      const changes = 1 + Math.floor((next() + 1) * 4);
      for (let k = 0; k < changes; k++) {
        // Mostly near the start, where lengths and names are; the weights are the larger part.
        const place = ((next() + 1) / 2) ** 2;
        copy[Math.floor(place * copy.length)] = Math.floor((next() + 1) * 128);
      }
      both(copy);
    }
  });

  test('random bytes', () => {
    for (let seed = 0; seed < 100; seed++) both(randomBytes(1 + seed * 7, seed));
  });
});

describe('files that are something else', () => {
  const open = (text: string | Uint8Array) =>
    parseModel(typeof text === 'string' ? new TextEncoder().encode(text) : text, 'm.onnx');
  test.each([
    ['', /m\.onnx is empty/],
    ['version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n', /Git LFS pointer/],
    ['<!DOCTYPE html><html></html>', /web page/],
    ['import torch\n', /text file/],
    ['PK\x03\x04', /ZIP archive/],
    ['\x00\x00\x00\x00ORTM\x00', /ORT format/],
    [Uint8Array.of(8, 8), /holds no graph/],
  ])('%j', (text, message) => {
    expect(() => open(text)).toThrowError(
      expect.objectContaining({ code: 'bad-model', message: expect.stringMatching(message) }),
    );
  });

  test('a folder, a missing file', () => {
    expect(() => loadModel(import.meta.dirname)).toThrowError(expect.objectContaining({ code: 'io' }));
    expect(() => loadModel(join(import.meta.dirname, 'no.onnx'))).toThrowError(
      expect.objectContaining({ code: 'io', message: expect.stringContaining('no such file') }),
    );
  });
});

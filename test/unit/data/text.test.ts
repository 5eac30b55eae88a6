import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openDataset } from '../../../src/evaluation/data/index.ts';
import { encodeText } from '../../../src/evaluation/data/text/encode.ts';
import { findTokenizer } from '../../../src/evaluation/data/text/tokenizer.ts';
import { evaluateModel, metricsFor, readOutput, referenceOutputs } from '../../../src/evaluation/metrics/index.ts';
import { loadModel } from '../../../src/graph/load.ts';
import type { DataSpec } from '../../../src/protocol.ts';
import { createSession } from '../../../src/runtime/session.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import { npy, npz } from './arrays.ts';

/** Made by scripts/golden/text.py with tokenizers, transformers and torch. */
const home = join(import.meta.dirname, '../../fixtures/text');
const golden = JSON.parse(readFileSync(join(home, 'golden.json'), 'utf8')) as {
  sequence: number;
  texts: string[];
  ids: Record<string, number[][]>;
  plain: Record<string, number[][]>;
  gpt2: { text: number[][]; lines: number[][] };
  llama: { text: number[][] };
};
const text = join(home, 'text.txt');
const lines = join(home, 'lines.jsonl');
const gpt2 = join(home, 'bpe/model.onnx');
const llama = join(home, 'characters/model.onnx');

const open = (model: string, path: string, more: Partial<DataSpec> = {}) =>
  openDataset(loadModel(model), { path, seed: 0, ...more });

async function crossEntropy(path: string, data: string, more: Partial<DataSpec> = {}) {
  const model = loadModel(path);
  const dataset = await openDataset(model, { path: data, seed: 0, ...more });
  const session = await createSession(model);
  const reading = await readOutput(model, dataset, { session });
  const found = await evaluateModel(session, dataset, { metric: 'cross-entropy', reading });
  const reference = await referenceOutputs(session, dataset, reading);
  const agreement = await evaluateModel(session, dataset, { metric: 'agreement', reading, reference });
  const kl = await evaluateModel(session, dataset, { metric: 'kl', reading, reference });
  await session.release();
  return { ...found, dataset, metrics: metricsFor(dataset, reading), agreement: agreement.value, kl: kl.value };
}

const mean = (losses: number[][]): number => losses.flat().reduce((a, b) => a + b, 0) / losses.flat().length;

describe('tokens are those of Hugging Face’s tokenizers', () => {
  test.each(['bpe', 'wordpiece', 'unigram'])('%s', async (kind) => {
    const tokenizer = findTokenizer(join(home, kind, 'model.onnx'), text);
    expect(tokenizer.path).toBe(join(home, kind, 'tokenizer.json'));
    for (const [i, sample] of golden.texts.entries()) {
      const ids = tokenizer.encode(sample);
      expect(ids).toEqual(golden.plain[kind][i]);
      expect([...tokenizer.prefix, ...ids, ...tokenizer.suffix]).toEqual(golden.ids[kind][i]);
    }
    expect(tokenizer.masks).toBe(kind === 'wordpiece');
  });

  test.each(['bpe', 'wordpiece', 'unigram'])('%s: long texts in pieces give the tokens of the whole', async (kind) => {
    const tokenizer = findTokenizer(join(home, kind, 'model.onnx'), text);
    const long = golden.texts[0].repeat(200);
    const pieces: string[] = [];
    const ids = await encodeText({ encode: (t) => (t.length > 1000 && pieces.push(t), tokenizer.encode(t)) }, long);
    expect(pieces.length).toBeGreaterThan(1);
    expect(ids).toEqual(tokenizer.encode(long));
  });
});

describe('cross-entropy per token equals torch’s', () => {
  test('of a text in windows, by a model with mask, positions and a cache', async () => {
    const { value, dataset, perSample, metrics } = await crossEntropy(gpt2, text, { sequence: golden.sequence });
    expect(dataset.nextTokens).toBe(true);
    expect(dataset.samples).toBe(golden.gpt2.text.length);
    expect(-value).toBeCloseTo(mean(golden.gpt2.text), 4);
    golden.gpt2.text.forEach((losses, i) => expect(-perSample[i]).toBeCloseTo(mean([losses]), 4));
    expect(metrics[0]).toBe('cross-entropy');
  });

  test('of lines of different lengths, all tokens counting alike and the padding not at all', async () => {
    const { value, dataset, agreement, kl, stderr } = await crossEntropy(gpt2, lines);
    expect(dataset.samples).toBe(3);
    expect(-value).toBeCloseTo(mean(golden.gpt2.lines), 4);
    expect(agreement).toBeCloseTo(1, 6);
    expect(kl).toBeCloseTo(0, 6);
    const lengths = golden.gpt2.lines.map((l) => l.length);
    const tokens = lengths.reduce((a, b) => a + b, 0);
    const off = golden.gpt2.lines.map((l) => (l.length * (mean([l]) - mean(golden.gpt2.lines)) * 3) / tokens);
    expect(stderr).toBeCloseTo(Math.sqrt(off.reduce((sum, v) => sum + v * v, 0) / 2 / 3), 3);
  });

  test('of characters, by a model without a cache', async () => {
    const { value, dataset } = await crossEntropy(llama, text, { sequence: golden.sequence });
    expect(dataset.samples).toBe(golden.llama.text.length);
    expect(-value).toBeCloseTo(mean(golden.llama.text), 4);
  });

  test('of token numbers in an .npz that names nothing else', async () => {
    const folder = temporaryFolder();
    const rows = golden.plain.bpe[0].slice(0, 2 * golden.sequence);
    const ids = npy([2, golden.sequence], BigInt64Array.from(rows, BigInt));
    const data = join(folder, 'tokens.npz');
    writeFileSync(data, npz({ x: ids }));
    const { value } = await crossEntropy(gpt2, data);
    expect(-value).toBeCloseTo(mean(golden.gpt2.text.slice(0, 2)), 4);
    // Labels as trainers that shift them by themselves take them.
    writeFileSync(data, npz({ input_ids: ids, labels: ids }));
    const again = await crossEntropy(gpt2, data);
    expect(again.value).toBe(value);
    expect(again.dataset.warnings.join()).toMatch(/the tokens themselves/);
  });
});

describe('inputs that the data do not name', () => {
  test('follow their conventions', async () => {
    const dataset = await open(gpt2, lines);
    const feeds = dataset.feeds([2, 0]);
    const length = feeds.input_ids.dims[1];
    const [short, first] = [golden.ids.bpe[3], golden.ids.bpe[1]];
    expect(Array.from(feeds.input_ids.data, Number).slice(0, short.length)).toEqual(short);
    const mask = Array.from(feeds.attention_mask.data, Number);
    expect(mask.slice(0, length)).toEqual(Array.from({ length }, (_, i) => (i < short.length ? 1 : 0)));
    const positions = Array.from(feeds.position_ids.data, Number);
    expect(positions.slice(length, length + first.length)).toEqual(first.map((_, i) => i));
    expect(positions[short.length]).toBe(1);
    expect(feeds['past_key_values.0.key']).toMatchObject({ dims: [2, 2, 0, 4] });
    const labels = Array.from(dataset.labelsOf([2])!);
    expect(labels.slice(0, short.length)).toEqual([...short.slice(1), -100]);
    expect(labels.slice(short.length).every((l) => l === -100)).toBe(true);
  });

  test('are constants where all texts are whole', async () => {
    const dataset = await open(gpt2, text, { sequence: 16 });
    const kinds = Object.fromEntries(dataset.inputs.map((i) => [i.name, i.kind]));
    expect(kinds).toMatchObject({ input_ids: 'rows', attention_mask: 'constant', position_ids: 'constant' });
    const { position_ids, attention_mask } = dataset.feeds([0, 1]);
    expect(position_ids.dims).toEqual([2, 16]);
    expect(Array.from(position_ids.data, Number).slice(14, 18)).toEqual([14, 15, 0, 1]);
    expect(attention_mask.data.every((v) => Number(v) === 1)).toBe(true);
  });
});

describe('samples', () => {
  test('are as long as the table of positions where that is less than 128', async () => {
    const dataset = await open(gpt2, text);
    expect(dataset.inputs[0].sampleShape).toEqual([64]);
  });

  test('are cut off with a warning', async () => {
    const dataset = await open(gpt2, lines, { sequence: 8 });
    expect(dataset.inputs[0].sampleShape).toEqual([8]);
    expect(dataset.warnings.join()).toMatch(/longer than 8 tokens/);
  });

  test('have the labels of whole texts only when they are asked for', async () => {
    expect((await open(gpt2, lines)).nextTokens).toBe(true);
    const dataset = await open(gpt2, lines, { label: 'label' });
    expect(dataset.nextTokens).toBe(false);
    expect(Array.from(dataset.labels!)).toEqual([0, 1, 0]);
  });
});

describe('what is wrong is said in one sentence', () => {
  const inFolder = (files: Record<string, string>) => {
    const folder = temporaryFolder();
    copyFileSync(llama, join(folder, 'model.onnx'));
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
    return (name: string, more: Partial<DataSpec> = {}) => open(join(folder, 'model.onnx'), join(folder, name), more);
  };

  test('no tokenizer: where it was looked for', async () => {
    const opened = inFolder({ 'a.txt': 'text' })('a.txt');
    await expect(opened).rejects.toThrow(
      /^Text needs a tokenizer, but there is no tokenizer.json or vocab.json in .+\.$/,
    );
  });
  test('a character that the vocabulary lacks', async () => {
    await expect(inFolder({ 'a.txt': 'abc', 'vocab.json': '["a", "b"]' })('a.txt')).rejects.toThrow(/character "c"/);
  });
  test('a vocabulary of longer tokens without its merges', async () => {
    const words = JSON.stringify(Array.from({ length: 30 }, (_, i) => `word${i}`));
    await expect(inFolder({ 'a.txt': 'abc', 'vocab.json': words })('a.txt')).rejects.toThrow(
      /vocabulary of characters/,
    );
  });
  test('another model’s tokenizer', async () => {
    const vocabulary = JSON.stringify(Array.from({ length: 300 }, (_, i) => String.fromCharCode(i + 32)));
    await expect(inFolder({ 'a.txt': 'ĀĀ', 'vocab.json': vocabulary })('a.txt')).rejects.toThrow(/not the model's/);
  });
  test('a tokenizer that is none', async () => {
    await expect(inFolder({ 'a.txt': 'a', 'tokenizer.json': '{}' })('a.txt')).rejects.toThrow(/tokenizer/);
    await expect(inFolder({ 'a.txt': 'a', 'tokenizer.json': '{' })('a.txt')).rejects.toThrow(/cannot be read/);
  });
  test('lines that are no JSON, or have no text', async () => {
    const vocabulary = readFileSync(join(home, 'characters/vocab.json'), 'utf8');
    const lined = (content: string) => inFolder({ 'a.jsonl': content, 'vocab.json': vocabulary })('a.jsonl');
    await expect(lined('{"text": "a"}\n{')).rejects.toThrow(/line 2/);
    await expect(lined('{"a": 1}')).rejects.toThrow(/which field holds the text/);
    await expect(lined('{"text": "a"}\n{"text": 3}')).rejects.toThrow(/line 2: the field text holds no text/);
    await expect(lined('\n')).rejects.toThrow(/is empty/);
  });
});

import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildCommand, example, removeCommand, secateur, sentence } from './command.ts';

beforeAll(buildCommand);
afterAll(removeCommand);

const model = `${example}/model.onnx`;

test('help is on stdout, with examples, for every command', async () => {
  const outcomes = await Promise.all(
    [['--help'], ...['inspect', 'evaluate', 'rank', 'prune', 'compare'].map((c) => [c, '--help'])].map((args) =>
      secateur(...args),
    ),
  );
  for (const { code, stdout } of outcomes) {
    expect(code).toBe(0);
    expect(stdout).toContain('Usage: secateur');
    expect(stdout).toContain('$ secateur');
  }
  expect((await secateur('--version')).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
});

const prune = ['prune', model, '--method', 'magnitude', '--out', 'x.onnx'];
test.each<[string, string[], RegExp]>([
  ['an unknown command', ['prun', model], /unknown command 'prun'.*Did you mean prune/],
  ['an unknown option', ['inspect', model, '--jsn'], /unknown option '--jsn'/],
  ['a missing argument', ['inspect'], /missing required argument 'model'/],
  ['a file that is not there', ['inspect', 'nowhere.onnx'], /There is no file nowhere\.onnx/],
  ['a folder as a model', ['inspect', example], /is a folder/],
  ['data that is not there', ['evaluate', model, '--data', 'nowhere.npz'], /There is no file nowhere\.npz/],
  ['a bad number', ['evaluate', model, '--samples', 'many'], /--samples.*whole number of at least 1/],
  ['a bad constant', ['evaluate', model, '--input', 'x'], /--input.*name=number/],
  ['an unknown method', ['rank', model, '--method', 'shapely'], /'shapely' is not a method/],
  ['an unknown metric', ['evaluate', model, '--metric', 'f1'], /--metric.*Allowed choices/],
  ['an unknown device', ['evaluate', model, '--device', 'tpu'], /--device.*Allowed choices/],
  ['no target', prune, /Nothing says how much is to go/],
  [
    'two targets',
    [...prune, '--keep-macs', '0.5', '--max-drop', '0.01'],
    /--keep-macs and --max-drop exclude each other/,
  ],
  ['a share above 1', [...prune, '--keep-macs', '1.5'], /share between 0 and 1/],
  ['no ranks', ['prune', model, '--keep-macs', '0.5', '--out', 'x.onnx'], /Nothing says which units matter/],
  [
    'a plan with a target',
    ['prune', model, '--plan', 'p.json', '--keep-macs', '0.5', '--out', 'x.onnx'],
    /--keep-macs and --plan exclude each other/,
  ],
  ['no output', ['prune', model, '--method', 'magnitude', '--keep-macs', '0.5'], /required option '--out/],
  [
    'an output that is no model',
    ['prune', model, '--method', 'magnitude', '--keep-macs', '0.5', '--out', 'x.txt'],
    /must end in \.onnx/,
  ],
  [
    'the model as output',
    ['prune', model, '--method', 'magnitude', '--keep-macs', '0.5', '--out', model],
    /never overwritten/,
  ],
  ['a hold-out without data', ['evaluate', model, '--holdout', model], /--holdout needs --data/],
  [
    'ranks that are no ranks',
    ['prune', model, '--ranks', `${example}/model.onnx`, '--keep-macs', '0.5', '--out', 'x.onnx'],
    /not JSON/,
  ],
])('%s is bad usage: exit code 2 and one sentence', async (_, args, message) => {
  const outcome = await secateur(...args);
  expect(outcome.stdout).toBe('');
  expect(sentence(outcome)).toMatch(message);
  expect(outcome.stderr.trim().split('\n')).toHaveLength(1);
  expect(outcome.stderr).not.toMatch(/\n\s+at |node:internal|\.ts:\d/);
  expect(outcome.code).toBe(2);
});

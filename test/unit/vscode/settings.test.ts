/** The manifest repeats what the code knows: its lists have to be the code's. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { methods } from '../../../src/ranking/registry.ts';
import { METHODS, METRICS } from '../../../webview/logic/words.ts';

interface Setting {
  enum: string[];
  enumItemLabels?: string[];
  enumDescriptions?: string[];
}

const manifest = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as {
  contributes: { configuration: { properties: Record<string, Setting> } };
};
const settings = manifest.contributes.configuration.properties;

describe('the settings', () => {
  it('offer every method with its name and what it is', () => {
    const { enum: names, enumItemLabels, enumDescriptions } = settings['secateur.method'];
    expect(names).toEqual(methods.map((m) => m.name));
    expect(enumItemLabels).toEqual(methods.map((m) => m.label));
    expect(enumDescriptions).toEqual(methods.map((m) => m.description));
  });

  it('offer every metric', () => {
    expect(settings['secateur.metric'].enum).toEqual(['auto', ...Object.keys(METRICS)]);
  });
});

describe('the words of the editor', () => {
  it('say of every method what the method says of itself, in the same order', () => {
    expect(Object.keys(METHODS)).toEqual(methods.map((m) => m.name));
    for (const { name, needs, comparable } of methods) {
      const word = METHODS[name];
      expect(word.comparable, name).toBe(comparable);
      expect(word.metric, name).toBe(needs === 'game' || needs === 'switch');
      expect(word.smooth ?? false, name).toBe(needs === 'switch');
      expect(word.data, name).toBe(needs !== 'weights' && needs !== 'nothing');
    }
  });
});

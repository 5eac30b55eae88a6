import { describe, expect, it } from 'vitest';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { directionalError, gatedLoss } from '../../support/gated-gradients.ts';
import { loadZoo, zooFeeds, zooModels } from '../../support/zoo.ts';

/*
 * Gradients by all gates of the zoo (scripts/zoo): one export of every architecture, from both exporters and all opsets;
 * with SECATEUR_ZOO=all every export.
 */
const all = zooModels();
const models = [...new Set(all.map((entry) => entry.model))];
const chosen =
  process.env.SECATEUR_ZOO === 'all'
    ? all
    : models.map((model, i) => {
        const exports = all.filter((entry) => entry.model === model);
        return exports[i % exports.length];
      });

describe('every operator between the gates and a loss has a gradient rule', () => {
  it.each(chosen.map((entry) => entry.name))('%s', (name) => {
    const { gates, gradients } = gatedLoss(analyseStructure(loadZoo(name)));
    expect(gradients.length).toBe(gates.length);
    expect(gradients.length).toBeGreaterThan(0);
  });
});

/** Without kinks, so that differences in 32 bits show more than three digits. */
const SMOOTH = ['gpt2.dynamo18', 'llama_gqa.ts17', 't5_encoder.ts14', 'bert.dynamo24', 'mlp_mixer.ts13'];
const RECURRENT = ['rnn.ts14', 'gru.ts17', 'lstm_bidirectional.ts9'];
const CONVOLUTIONAL = ['efficientnet_v2.dynamo18'];

describe('gradients by all gates are the differences of the loss', () => {
  const entries = new Map(all.map((entry) => [entry.name, entry]));
  it.each([...SMOOTH, ...RECURRENT, ...CONVOLUTIONAL])('%s', async (name) => {
    const feeds = zooFeeds(entries.get(name)!);
    expect(await directionalError(analyseStructure(loadZoo(name)), feeds)).toBeLessThan(2e-3);
  });
});

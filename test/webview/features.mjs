/** Made-up importances of features in the shape of `features --json`, one for each way of drawing them. */

const noise = (i) => Math.abs(Math.sin(i * 12.9898) * 43758.5453) % 1;

function shares(n, weight) {
  const raw = Array.from({ length: n }, (_, i) => weight(i) + 0.002 * noise(i));
  const sum = raw.reduce((a, b) => a + b, 0);
  return raw.map((v) => v / sum);
}

function scores(values, name, sd) {
  return values.map((importance, index) => ({ index, name: name(index), importance, sd: sd(importance, index) }));
}

/** A ring on dark ground, 28 × 28. */
function ring(size = 28) {
  const pixels = [];
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++) {
      const r = Math.hypot(x - size / 2 + 0.5, y - size / 2 + 0.5) / size;
      pixels.push(Math.round(235 * Math.exp(-(((r - 0.28) / 0.07) ** 2)) + 12 * noise(x * size + y)));
    }
  return { height: size, width: size, channels: 1, pixels };
}

const COLUMNS = [
  'age',
  'balance',
  'duration_of_last_contact_in_seconds',
  'campaign',
  'housing',
  'loan',
  'month',
  'job',
];
const TOKENS = '[CLS] the plot is thin , but the acting is simply wonderful and the ending moved me [SEP]'.split(' ');

function common(model, data, features) {
  return {
    format: 'secateur-features/1',
    model: { path: model.path, sha256: model.sha256, bytes: model.bytes },
    data: { path: data.path, fingerprint: data.fingerprint, samples: data.samples },
    name: model.path,
    method: 'qfit',
    mode: 'global',
    input: 'input',
    baseline: 'mean',
    samples: data.samples,
    features,
    phi: features.map((f) => 40 * f.importance),
    value: { open: 0.0842, closed: 2.3026 },
    loss: 'cross-entropy',
    output: 'logits',
    reading: 'logits',
    estimator: 'pathwise',
    prior: 0.1,
    klWeight: 0.001,
    scaling: 'max-one',
    draws: 32,
    steps: 300,
    batch: 100,
    seed: 0,
    device: 'cpu',
    seconds: 4.2,
    complete: true,
    warnings: [],
  };
}

export function featuresOf(scene, model, data) {
  const sd = (v) => Math.sqrt((v * (1 - v)) / 41);
  if (scene === 'columns') {
    const values = shares(COLUMNS.length, (i) => [0.04, 0.3, 0.5, 0.02, 0.11, 0.01, 0.2, 0][i]);
    return {
      ...common(
        model,
        data,
        scores(values, (i) => COLUMNS[i], sd),
      ),
      kind: 'columns',
    };
  }
  if (scene === 'shapley') {
    const values = [0.012, 0.21, 0.34, -0.03, 0.08, -0.008, 0.15, 0];
    const found = common(
      model,
      data,
      scores(
        values,
        (i) => COLUMNS[i],
        (v) => 0.01 + 0.05 * Math.abs(v),
      ),
    );
    return {
      ...found,
      method: 'shapley',
      kind: 'columns',
      estimator: 'exact',
      loss: 'accuracy',
      value: { open: 0.97, closed: 0.21 },
      phi: null,
    };
  }
  if (scene === 'tokens') {
    const values = shares(TOKENS.length, (i) => ({ 3: 0.2, 4: 0.5, 6: 0.25, 10: 0.3, 11: 1, 15: 0.4 })[i] ?? 0.01);
    const features = scores(values, (i) => `position ${i}`, sd);
    return { ...common(model, data, features), kind: 'tokens', mode: 'local', sample: 12, tokens: TOKENS };
  }
  const size = scene === 'pixels' ? 100 : 28;
  const patch = scene === 'pixels' || scene === 'rows' ? 1 : 4;
  const rows = Math.ceil(size / patch);
  const columns = scene === 'rows' ? 1 : rows;
  const values = shares(rows * columns, (i) => {
    const [y, x] = [Math.floor(i / columns), columns === 1 ? rows / 2 : i % columns];
    const r = Math.hypot(y + 0.5 - rows / 2, columns === 1 ? 0 : x + 0.5 - columns / 2) / rows;
    return Math.exp(-(((r - 0.28) / 0.12) ** 2));
  });
  const name = (i) => (columns === 1 ? `row ${i}` : `patch (${Math.floor(i / columns)}, ${i % columns})`);
  const features = scores(values, name, sd);
  const found = {
    ...common(model, data, features),
    kind: scene === 'rows' || scene === 'pixels' ? scene : 'patches',
    grid: { height: size, width: size, patch, rows, columns },
    picture: ring(size),
  };
  if (scene === 'rows') found.selected = { spread: 0.5, indices: [6, 21, 9, 18, 3, 24] };
  if (scene === 'each') {
    found.mode = 'local';
    found.local = Array.from({ length: 20 }, (_, sample) => ({
      sample,
      importance: shares(values.length, (i) => values[(i + sample) % values.length]),
    }));
  }
  if (scene === 'compared') {
    const moved = scores(
      shares(values.length, (i) => values[(i + 2) % values.length]),
      name,
      sd,
    );
    found.comparison = {
      of: 'models',
      other: {
        name: '/home/mira/models/resnet8-digits.pruned.onnx',
        samples: 1000,
        features: moved,
        phi: null,
        value: found.value,
      },
      divergence: { forward: 1.83, backward: 2.02 },
      spearman: 0.61,
    };
  }
  return found;
}

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encode } from 'fast-png';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readImage, withChannels } from '../../../src/evaluation/data/image-decode.ts';
import { openDataset } from '../../../src/evaluation/data/index.ts';
import { resizeImage } from '../../../src/evaluation/data/resize.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { Builder } from '../../support/build.ts';

const folder = mkdtempSync(join(tmpdir(), 'secateur-images-'));
afterAll(() => rmSync(folder, { recursive: true }));
const write = (name: string, data: Uint8Array | string): string => {
  const path = join(folder, name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, data);
  return path;
};
const decode = (name: string, base64: string) => readImage(write(name, Buffer.from(base64, 'base64')));

/** Pictures and their pixels by Pillow 13.0.0: Image.fromarray(…).save(…), and numpy.asarray(Image.open(…)). */
describe('image files', () => {
  const grey = [0, 80, 160, 255, 10, 20, 30, 40];

  test('grey PNG', () => {
    const image = decode(
      'l.png',
      'iVBORw0KGgoAAAANSUhEUgAAAAQAAAACCAAAAABawyK/AAAAEklEQVR4nGNgCFjwn5GLi4sLAA1NAhnvyxOJAAAAAElFTkSuQmCC',
    );
    expect(image).toMatchObject({ width: 4, height: 2, channels: 1 });
    expect([...image.data]).toEqual(grey);
  });
  test('RGBA PNG loses its alpha', () => {
    const image = decode(
      'rgba.png',
      'iVBORw0KGgoAAAANSUhEUgAAAAQAAAACCAYAAAB/qH1jAAAAJElEQVR4nGNk+M/QELBBgyFggwZD/EJ9Bkaur6wNXN9YGWAYAK66CZSujbK4AAAAAElFTkSuQmCC',
    );
    expect(image.channels).toBe(3);
    expect([...image.data]).toEqual(grey.flatMap((v) => [v, 255 - v, Math.floor(v / 2)]));
    // Pillow: convert('L').
    expect([...withChannels(image, 1).data]).toEqual([150, 131, 113, 91, 147, 145, 143, 140]);
  });
  test('PNG with a palette of 4-bit indices', () => {
    const image = decode(
      'p.png',
      'iVBORw0KGgoAAAANSUhEUgAAAAQAAAACBAMAAACNhmBQAAAAGFBMVEUA/wAK9QUU6woe4Q8o1xRQryigX1D/AH8RYe73AAAADklEQVR4nGNkTWIUUgIAAfYAnmHoWvQAAAAASUVORK5CYII=',
    );
    expect([...image.data]).toEqual([
      0, 255, 0, 80, 175, 40, 160, 95, 80, 255, 0, 127, 10, 245, 5, 20, 235, 10, 30, 225, 15, 40, 215, 20,
    ]);
  });
  test('PNG of single bits', () => {
    const image = decode(
      '1.png',
      'iVBORw0KGgoAAAANSUhEUgAAAAQAAAACAQAAAABX00DOAAAADElEQVR4nGMoYGAAAAFUAHEXWKGjAAAAAElFTkSuQmCC',
    );
    expect([...image.data]).toEqual([0, 255, 255, 255, 0, 0, 0, 0]);
  });
  test('JPEG (quality 95, subsampling 0), within 3 of 255: decoders round differently', () => {
    const image = decode(
      'a.jpg',
      '/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoKCgoKBggLDAsKDAkKCgr/2wBDAQICAgICAgUDAwUKBwYHCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgr/wAARCAAIAAgDAREAAhEBAxEB/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/8QAHwEAAwEBAQEBAQEBAQAAAAAAAAECAwQFBgcICQoL/8QAtREAAgECBAQDBAcFBAQAAQJ3AAECAxEEBSExBhJBUQdhcRMiMoEIFEKRobHBCSMzUvAVYnLRChYkNOEl8RcYGRomJygpKjU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6goOEhYaHiImKkpOUlZaXmJmaoqOkpaanqKmqsrO0tba3uLm6wsPExcbHyMnK0tPU1dbX2Nna4uPk5ebn6Onq8vP09fb3+Pn6/9oADAMBAAIRAxEAPwDyP9j3/gk//wAev/FNf3f+WVGU5ttqHgD4/fwv3vbqf//Z',
    );
    const pillow = [
      0, 0, 0, 31, 0, 15, 61, 0, 31, 89, 0, 44, 122, 0, 59, 150, 0, 74, 180, 0, 91, 211, 0, 105, 0, 30, 15, 30, 30, 30,
      60, 29, 45, 88, 29, 59, 121, 30, 74, 149, 29, 90, 180, 29, 106, 210, 30, 121,
    ];
    expect(image).toMatchObject({ width: 8, height: 8, channels: 3 });
    expect(Math.max(...pillow.map((v, i) => Math.abs(v - image.data[i])))).toBeLessThanOrEqual(3);
  });
  test.each([
    ['no image', 'hello', /is neither a PNG nor a JPEG image/],
    [
      'a PNG that is cut off',
      Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAQAAAACCAAAAABawyK/AAAAEklEQVR4nGNg', 'base64'),
      /is not a readable image/,
    ],
    [
      'a PNG that claims to be huge',
      Buffer.concat([Buffer.from('iVBORw0KGgoAAAANSUhEUg==', 'base64'), Buffer.alloc(30, 0x7f)]),
      /more than 100 million pixels/,
    ],
    ['a JPEG that is cut off', Buffer.from('/9j/4AAQSkZJRgABAQAAAQABAAD/2wBD', 'base64'), /is not a readable image/],
  ])('%s is one sentence', (name, data, message) => {
    expect(() => readImage(write(name, data))).toThrow(
      expect.objectContaining({ code: 'bad-data', message: expect.stringMatching(message) }),
    );
  });
});

/** Pillow 13.0.0: Image.fromarray((arange(90) * 37 % 251).astype(uint8).reshape(6, 5, 3)).resize((width, height), filter). */
describe('resizing', () => {
  const pixels = Uint8Array.from({ length: 90 }, (_, i) => (i * 37) % 251);
  test.each([
    [
      'nearest',
      3,
      4,
      [
        0, 37, 74, 222, 8, 45, 193, 230, 16, 106, 143, 180, 77, 114, 151, 48, 85, 122, 159, 196, 233, 130, 167, 204,
        101, 138, 175, 14, 51, 88, 236, 22, 59, 207, 244, 30,
      ],
    ],
    [
      'bilinear',
      3,
      4,
      [
        68, 105, 142, 134, 84, 121, 165, 148, 96, 130, 107, 144, 115, 115, 121, 144, 121, 98, 123, 148, 137, 129, 129,
        113, 137, 114, 139, 96, 133, 116, 160, 110, 95, 139, 176, 124,
      ],
    ],
    [
      'bicubic',
      3,
      4,
      [
        63, 105, 141, 134, 83, 128, 168, 148, 93, 132, 100, 148, 115, 117, 121, 144, 121, 94, 123, 155, 138, 128, 126,
        107, 138, 112, 145, 96, 133, 113, 161, 106, 96, 139, 181, 122,
      ],
    ],
    [
      'bilinear',
      9,
      7,
      [
        0, 37, 74, 37, 74, 111, 99, 136, 173, 160, 86, 123, 222, 8, 45, 144, 70, 107, 94, 131, 140, 156, 193, 63, 193,
        230, 16, 42, 79, 116, 79, 116, 153, 141, 178, 215, 114, 128, 165,
      ],
    ],
  ] as const)('%s to %i×%i as Pillow does, within 1 of 255', (filter, width, height, expected) => {
    const mine = resizeImage(pixels, 5, 6, 3, width, height, filter);
    expect(mine).toHaveLength(width * height * 3);
    expect(Math.max(...expected.map((v, i) => Math.abs(v - mine[i])))).toBeLessThanOrEqual(1);
  });
});

describe('folders of images', () => {
  const root = join(folder, 'set');
  const png = (width: number, height: number, value: (i: number) => number, channels: 1 | 3 = 3): Uint8Array =>
    encode({
      width,
      height,
      channels,
      depth: 8,
      data: Uint8Array.from({ length: width * height * channels }, (_, i) => value(i)),
    });
  const model = (shape: (number | string)[], type: number = DataType.FLOAT) => {
    const b = new Builder();
    const x = b.input('x', shape, type);
    return b.output(b.op('Identity', [x])).model;
  };
  beforeAll(() => {
    for (const [k, name] of ['cat', 'dog'].entries())
      for (let i = 0; i < 3; i++)
        write(
          `set/${name}/${i}.png`,
          png(4, 4, (j) => (j + 10 * i + 100 * k) % 256),
        );
    write('set/dog/other.webp', 'x');
  });

  test('sub-folders are classes; the guess is stated', async () => {
    const data = await openDataset(model(['n', 3, 4, 4]), { path: root, seed: 0 });
    expect([...data.labels!]).toEqual([0, 0, 0, 1, 1, 1]);
    expect(data.classNames).toEqual(['cat', 'dog']);
    expect(data.warnings[0]).toBe(
      'Images: 4×4, RGB, NCHW, values × 0.003922 (guessed from the shape of the input; put a preprocessor_config.json next to the images to change it).',
    );
    expect(data.warnings[1]).toBe('1 images of other formats than PNG and JPEG were left out.');
    const { x } = data.feeds([4]);
    expect(x.dims).toEqual([1, 3, 4, 4]);
    // Channel 1 of pixel 2 of dog/1.png: byte 7 of the file.
    expect((x.data as Float32Array)[16 + 2]).toBeCloseTo((7 + 10 + 100) / 255, 6);
  });
  test('channels last, a size to scale to, 8-bit input', async () => {
    const last = await openDataset(model(['n', 2, 2, 3], DataType.UINT8), { path: root, seed: 0 });
    expect(last.feeds([0]).x).toMatchObject({ type: 'uint8', dims: [1, 2, 2, 3] });
    expect([...(last.feeds([0]).x.data as Uint8Array)]).toEqual([
      ...resizeImage(
        Uint8Array.from({ length: 48 }, (_, i) => i),
        4,
        4,
        3,
        2,
        2,
      ),
    ]);
  });
  test('preprocessor_config.json: shorter edge, crop, rescale, mean and deviation', async () => {
    const config = {
      do_resize: true,
      size: { shortest_edge: 4 },
      do_center_crop: true,
      crop_size: { height: 2, width: 2 },
      rescale_factor: 0.5,
      image_mean: [1, 2, 3],
      image_std: [2, 4, 8],
      resample: 2,
    };
    write('set/preprocessor_config.json', JSON.stringify(config));
    const data = await openDataset(model(['n', 3, 'h', 'w']), { path: root, seed: 0, samples: 2 });
    rmSync(join(root, 'preprocessor_config.json'));
    expect(data.samples).toBe(2);
    expect(data.warnings[0]).toContain('mean 1, 2, 3, std 2, 4, 8 (as ');
    const all = await openDataset(model(['n', 3, 4, 4], DataType.UINT8), { path: root, seed: 0 });
    const { x } = data.feeds([1]);
    expect(x.dims).toEqual([1, 3, 2, 2]);
    const raw = all.feeds([data.ids[1]]).x.data as Uint8Array;
    const want = [0, 1, 2].flatMap((c) =>
      [5, 6, 9, 10].map((p) => (raw[c * 16 + p] * 0.5 - config.image_mean[c]) / config.image_std[c]),
    );
    expect([...(x.data as Float32Array)]).toEqual(want.map((v) => Math.fround(v)));
    expect(data.labels![1]).toBe(data.ids[1] < 3 ? 0 : 1);
  });
  test('one folder without classes has no labels; numbers as folder names are the labels', async () => {
    const flat = await openDataset(model(['n', 1, 4, 4]), { path: join(root, 'cat'), seed: 0 });
    expect(flat.labels).toBeNull();
    expect(flat.samples).toBe(3);
    for (const name of ['10', '9', '2'])
      write(
        `numbers/${name}/a.png`,
        png(4, 4, () => 1),
      );
    const numbers = await openDataset(model(['n', 3, 4, 4]), { path: join(folder, 'numbers'), seed: 0 });
    expect([...numbers.labels!]).toEqual([2, 9, 10]);
  });
  test('images of several sizes where the model leaves the size open', async () => {
    write(
      'sizes/a.png',
      png(4, 4, () => 1),
    );
    write(
      'sizes/b.png',
      png(5, 4, () => 1),
    );
    await expect(openDataset(model(['n', 3, 'h', 'w']), { path: join(folder, 'sizes'), seed: 0 })).rejects.toMatchObject({
      code: 'bad-data', message: expect.stringMatching(/b.png is 5×4, but .*a.png is 4×4, and the model leaves the size open/),
    }); // prettier-ignore
  });
  test('a model that takes no images', async () => {
    await expect(openDataset(model(['n', 7]), { path: root, seed: 0 })).rejects.toMatchObject({
      code: 'bad-data',
      message: "Images do not fit the model's input of shape [n, 7].",
    });
  });
  test('decoding can be cancelled', async () => {
    for (let i = 0; i < 40; i++)
      write(
        `many/${i}.png`,
        png(200, 200, (j) => j % 251),
      );
    const controller = new AbortController();
    const opening = openDataset(model(['n', 3, 64, 64]), { path: join(folder, 'many'), seed: 0 }, controller.signal);
    // However fast the machine is: decoding pauses for others, or has only just ended.
    controller.abort();
    await expect(opening).rejects.toMatchObject({ code: 'cancelled' });
  });
  test('an empty folder', async () => {
    mkdirSync(join(folder, 'empty'));
    await expect(openDataset(model(['n', 3, 4, 4]), { path: join(folder, 'empty'), seed: 0 })).rejects.toMatchObject({
      code: 'bad-data',
      message: expect.stringContaining('holds no images and no arrays'),
    });
  });
});

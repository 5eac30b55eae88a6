import { readFileSync } from 'node:fs';
import { decode as decodePng, type DecodedPng } from 'fast-png';
import jpeg from 'jpeg-js';
import { SecateurError } from '../../errors.ts';

/** 8-bit pixels, channels interleaved: grey 1 or RGB 3 (alpha is dropped). */
export interface Image {
  width: number;
  height: number;
  channels: 1 | 3;
  data: Uint8Array;
}

const MAX_PIXELS = 100e6;

/** Reads a PNG or JPEG file, recognised by its content. @throws SecateurError 'bad-data' or 'io' naming the file */
export function readImage(path: string): Image {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (thrown) {
    throw new SecateurError('io', `${path} cannot be read: ${(thrown as Error).message}.`, '', { cause: thrown });
  }
  try {
    if (bytes[0] === 0x89 && bytes[1] === 0x50) return fromPng(bytes);
    if (bytes[0] === 0xff && bytes[1] === 0xd8) return fromJpeg(bytes);
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new SecateurError('bad-data', `${path} is not a readable image: ${why}.`, '', { cause: thrown });
  }
  throw new SecateurError('bad-data', `${path} is neither a PNG nor a JPEG image.`);
}

function fromJpeg(bytes: Uint8Array): Image {
  const { width, height, data } = jpeg.decode(bytes, {
    useTArray: true,
    formatAsRGBA: false,
    maxResolutionInMP: MAX_PIXELS / 1e6,
    maxMemoryUsageInMB: 2048,
  });
  return { width, height, channels: 3, data: new Uint8Array(data.buffer, data.byteOffset, data.length) };
}

function fromPng(bytes: Uint8Array): Image {
  if (bytes.length < 33) throw new Error('it is cut off');
  const header = new DataView(bytes.buffer, bytes.byteOffset, 33);
  if (header.getUint32(16) * header.getUint32(20) > MAX_PIXELS) throw new Error('it has more than 100 million pixels');
  const png = decodePng(bytes);
  const { width, height } = png;
  const values = eightBit(png);
  const pixels = width * height;
  if (png.palette) {
    const out = new Uint8Array(pixels * 3);
    for (let i = 0; i < pixels; i++) out.set((png.palette[values[i]] ?? [0, 0, 0]).slice(0, 3), i * 3);
    return { width, height, channels: 3, data: out };
  }
  const keep = png.channels >= 3 ? 3 : 1;
  if (keep === png.channels) return { width, height, channels: keep, data: values };
  const out = new Uint8Array(pixels * keep);
  for (let i = 0; i < pixels; i++) for (let c = 0; c < keep; c++) out[i * keep + c] = values[i * png.channels + c];
  return { width, height, channels: keep, data: out };
}

/** One byte per value: palette indices stay, other depths are scaled to 0…255. */
function eightBit(png: DecodedPng): Uint8Array {
  const { data, depth, channels, width, height } = png;
  if (depth === 8) return new Uint8Array(data.buffer, data.byteOffset, data.length);
  if (depth === 16) return Uint8Array.from(data, (v) => Math.round(v / 257));
  const perRow = width * channels;
  const stride = Math.ceil((perRow * depth) / 8);
  const mask = (1 << depth) - 1;
  const scale = png.palette ? 1 : 255 / mask;
  const out = new Uint8Array(perRow * height);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < perRow; x++) {
      const bit = x * depth;
      const byte = data[y * stride + (bit >> 3)];
      out[y * perRow + x] = ((byte >> (8 - depth - (bit & 7))) & mask) * scale;
    }
  return out;
}

/** The same picture with 1 or 3 channels: grey is the luma of ITU-R 601 (299 R + 587 G + 114 B, in thousandths). */
export function withChannels(image: Image, channels: 1 | 3): Image {
  if (image.channels === channels) return image;
  const pixels = image.width * image.height;
  const out = new Uint8Array(pixels * channels);
  for (let i = 0; i < pixels; i++) {
    if (channels === 3) out.fill(image.data[i], i * 3, i * 3 + 3);
    else
      out[i] = Math.floor(
        (19595 * image.data[i * 3] + 38470 * image.data[i * 3 + 1] + 7471 * image.data[i * 3 + 2] + 0x8000) / 65536,
      );
  }
  return { ...image, channels, data: out };
}

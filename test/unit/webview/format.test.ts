import { describe, expect, it } from 'vitest';
import {
  bytes,
  change,
  count,
  interval,
  metricDelta,
  metricValue,
  milliseconds,
  number,
  percent,
  plural,
  seconds,
  shape,
  si,
} from '../../../webview/logic/format.ts';

/** No-break spaces as plain ones, so that the expectations can be read. */
const plain = (text: string): string => text.replaceAll('\u00a0', ' ');

describe('numbers for people', () => {
  it('keeps three significant digits with SI prefixes', () => {
    expect(plain(si(12_512_345))).toBe('12.5 M');
    expect(plain(si(78_000))).toBe('78 k');
    expect(plain(si(999_600))).toBe('1 M');
    expect(plain(si(999))).toBe('999');
    expect(plain(si(0))).toBe('0');
    expect(plain(bytes(313_204))).toBe('313 kB');
    expect(plain(bytes(214))).toBe('214 B');
    expect(plain(si(4.2e9, 'MACs'))).toBe('4.2 G MACs');
  });

  it('writes plain numbers with a real minus sign and exponents where they are needed', () => {
    expect(number(-0.08421)).toBe('−0.0842');
    expect(number(3.21e-7)).toBe('3.21e−7');
    expect(number(3.21e-7, 1)).toBe('3e−7');
    expect(plain(number(12_345))).toBe('12 300');
    expect(number(NaN)).toBe('–');
    expect(number(-0)).toBe('0');
  });

  it('groups digits from five on', () => {
    expect(plain(count(1234))).toBe('1234');
    expect(plain(count(67_840))).toBe('67 840');
    expect(plain(count(-1_000_000))).toBe('−1 000 000');
    expect(plain(plural(1, 'group'))).toBe('1 group');
    expect(plain(plural(12, 'group'))).toBe('12 groups');
  });

  it('writes shares and changes', () => {
    expect(plain(percent(0.6212))).toBe('62.1 %');
    expect(plain(percent(1))).toBe('100 %');
    expect(plain(percent(0.0004))).toBe('<0.1 %');
    expect(plain(percent(-0.0004))).toBe('>−0.1 %');
    expect(plain(change(200, 100))).toBe('−50 %');
    expect(plain(change(100, 130))).toBe('+30 %');
    expect(change(0, 3)).toBe('–');
  });

  it('writes times', () => {
    expect(plain(milliseconds(0.42))).toBe('420 µs');
    expect(plain(milliseconds(4.123))).toBe('4.12 ms');
    expect(plain(milliseconds(12_000))).toBe('12 s');
    expect(plain(seconds(200))).toBe('3 min 20 s');
    expect(plain(seconds(7500))).toBe('2 h 5 min');
  });

  it('gives a metric no more digits than its samples allow', () => {
    expect(plain(metricValue('accuracy', 0.97214, 1000))).toBe('97.2 %');
    expect(plain(metricValue('accuracy', 0.97214, 50))).toBe('97 %');
    expect(metricValue('cross-entropy', -0.08423, 50)).toBe('−0.0842');
    expect(metricValue('kl', null)).toBe('–');
    expect(plain(metricDelta('accuracy', -0.006, 1000))).toBe('−0.6 points');
    expect(plain(metricDelta('accuracy', 0.0001, 1000))).toBe('±0.0 points');
    expect(metricDelta('cross-entropy', 0.0121)).toBe('+0.0121');
    expect(plain(interval('accuracy', 0.01))).toBe('± 2.0 %');
    expect(interval('accuracy', null)).toBe('');
  });

  it('writes shapes', () => {
    expect(plain(shape(['batch', 3, null, 28]))).toBe('batch × 3 × ? × 28');
    expect(shape(null)).toBe('unknown');
    expect(shape([])).toBe('scalar');
  });
});

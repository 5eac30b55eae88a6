import { interpolateLab, interpolateRgb } from 'd3-interpolate';

/** Colours that charts compute with; the rest is CSS. The names are our own properties in styles/tokens.css. */
export type Tone = 'positive' | 'negative' | 'neutral' | 'ground' | 'ink' | 'muted' | 'frozen';

const cache = new Map<string, string>();

/** The theme's value of one of our colour properties as `rgb(r, g, b)`, as the browser computes it. */
export function tone(name: Tone): string {
  let value = cache.get(name);
  if (value === undefined) {
    const probe = document.createElement('span');
    probe.style.setProperty('forced-color-adjust', 'none');
    probe.style.color = `var(--c-${name})`;
    document.body.append(probe);
    value = `rgb(${rgb(getComputedStyle(probe).color).join(', ')})`;
    probe.remove();
    cache.set(name, value);
  }
  return value;
}

/** Red, green, blue 0..255 of a computed colour: `rgb(…)`, `rgba(…)` or `color(srgb …)`; grey when it is neither. */
export function rgb(text: string): [number, number, number] {
  const parts = text.match(/[\d.]+(e-?\d+)?/g)?.map(Number) ?? [];
  if (parts.length < 3) return [128, 128, 128];
  const unit = text.startsWith('color(') ? 255 : 1;
  return [Math.round(parts[0] * unit), Math.round(parts[1] * unit), Math.round(parts[2] * unit)];
}

export function isHighContrast(): boolean {
  return (
    document.body.classList.contains('vscode-high-contrast') ||
    document.body.classList.contains('vscode-high-contrast-light')
  );
}

/**
 * Colour of a value −1..1: below zero and above zero diverge from the neutral colour. The square root opens the small
 * values up, where most units lie.
 */
export function divergingScale(): (value: number) => string {
  const up = interpolateLab(tone('neutral'), tone('positive'));
  const down = interpolateLab(tone('neutral'), tone('negative'));
  return (value) => {
    const t = Math.sqrt(Math.min(1, Math.abs(value)));
    return value >= 0 ? up(t) : down(t);
  };
}

/** Two shades of a tone, for neighbours that must be told apart. */
export function shades(name: Tone): [string, string] {
  return [tone(name), interpolateRgb(tone(name), tone('ground'))(0.3)];
}

const listeners = new Set<() => void>();

/** Calls back when the colour theme changes; charts on canvas draw again then. */
export function onThemeChange(callback: () => void): void {
  if (listeners.size === 0) {
    const observer = new MutationObserver(() => {
      cache.clear();
      for (const listener of listeners) listener();
    });
    observer.observe(document.body, { attributes: true, attributeFilter: ['class', 'data-vscode-theme-id'] });
    observer.observe(document.documentElement, { attributes: true, attributeFilter: ['style', 'class'] });
  }
  listeners.add(callback);
}

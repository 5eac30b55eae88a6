import type { Progress, WireError } from '../../src/protocol.ts';
import { percent } from '../logic/format.ts';
import { fill, h, icon, setText } from './dom.ts';
import { button, progressRing } from './toolkit.ts';

/** How long something may take before the view says that it waits. */
const PATIENCE = 300;

/** An empty view: what to do, one button. */
export function emptyState(title: string, text: string, action?: { label: string; onClick: () => void }): HTMLElement {
  return h(
    'div',
    { class: 'empty', attrs: { role: 'status' } },
    h('h2', { text: title }),
    h('p', { text }),
    action && button({ ...action, kind: 'primary' }).element,
  );
}

export interface ErrorActions {
  retry?: () => void;
  showLog: () => void;
}

/** A failed request: sentence, hint, Retry, Show log. */
export function errorState(error: WireError, actions: ErrorActions, what = ''): HTMLElement {
  return h(
    'div',
    { class: 'problem', attrs: { role: 'alert' } },
    icon('error'),
    h(
      'div',
      { class: 'problem-text' },
      h('p', { class: 'problem-message', text: what ? `${what}: ${error.message}` : error.message }),
      error.hint ? h('p', { class: 'muted', text: error.hint }) : null,
      h(
        'div',
        { class: 'buttons' },
        actions.retry && button({ label: 'Retry', icon: 'refresh', onClick: actions.retry }).element,
        button({ label: 'Show log', icon: 'output', onClick: actions.showLog }).element,
      ),
    ),
  );
}

/** Shows an error in a slot, or empties the slot; the same error is not drawn twice. */
export function errorSlot(
  actions: ErrorActions,
  what = '',
): { element: HTMLElement; set(error: WireError | null): void } {
  const element = h('div', { class: 'slot' });
  let shown: WireError | null = null;
  return {
    element,
    set(error) {
      if (error === shown) return;
      shown = error;
      if (error) fill(element, errorState(error, actions, what));
      else fill(element);
    },
  };
}

/** Nothing at first, then a skeleton with a sentence and, when it can be told, a number. */
export function loadingState(text: string): {
  element: HTMLElement;
  set(progress: Progress | null): void;
  reset(): void;
} {
  const line = h('p', { class: 'loading-line' });
  const note = h('span', { text });
  line.append(progressRing(), note);
  const element = h(
    'div',
    { class: 'loading', attrs: { role: 'status', 'aria-live': 'polite' } },
    line,
    ...['w60', 'w90', 'w75', 'w80'].map((w) => h('div', { class: `skeleton ${w}`, attrs: { 'aria-hidden': 'true' } })),
  );
  let timer: ReturnType<typeof setTimeout> | undefined;
  const reset = (): void => {
    clearTimeout(timer);
    element.classList.add('waiting');
    timer = setTimeout(() => element.classList.remove('waiting'), PATIENCE);
  };
  reset();
  return {
    element,
    reset,
    set(progress) {
      const share =
        progress?.fraction === null || progress?.fraction === undefined ? '' : ` ${percent(progress.fraction)}`;
      setText(note, `${progress?.note || text}${share}`);
    },
  };
}

export interface BannerOptions {
  kind: 'warning' | 'error' | 'info';
  text: string;
  actions: { label: string; onClick: () => void; disabled?: boolean }[];
}

export function banner(options: BannerOptions): HTMLElement {
  return h(
    'div',
    { class: `banner ${options.kind}`, attrs: { role: options.kind === 'error' ? 'alert' : 'status' } },
    icon(options.kind === 'info' ? 'info' : options.kind),
    h('span', { class: 'banner-text', text: options.text }),
    ...options.actions.map((a) => {
      const b = button({ label: a.label, onClick: a.onClick });
      b.set({ disabled: a.disabled ?? false });
      return b.element;
    }),
  );
}

/** A name that loses its beginning when there is no room (the ends of paths tell them apart); the whole is in the tooltip. */
export function nameElement(name: string, split: { head: string; tail: string }): HTMLElement {
  if (!split.tail) return h('span', { class: 'name', title: name }, h('span', { class: 'name-head', text: name }));
  return h(
    'span',
    { class: 'name', title: name },
    // Text that runs the other way loses its left end; `bdi` keeps its own order.
    h('span', { class: 'name-head' }, h('bdi', { text: split.head })),
    h('span', { class: 'name-tail', text: split.tail }),
  );
}

import { h, setAttr } from './dom.ts';

export interface Segment<T extends string> {
  value: T;
  label: string;
  title?: string;
}

/** A few choices side by side, one of them on. Arrow keys move, as in a radio group. */
export function segmented<T extends string>(
  label: string,
  segments: readonly Segment<T>[],
  onChange: (value: T) => void,
): { element: HTMLElement; set(value: T): void } {
  const buttons = segments.map((s) =>
    h('button', {
      text: s.label,
      title: s.title,
      attrs: { type: 'button', role: 'radio' },
      on: { click: () => onChange(s.value) },
    }),
  );
  const element = h('div', { class: 'segmented', attrs: { role: 'radiogroup', 'aria-label': label } }, ...buttons);
  element.addEventListener('keydown', (e) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[e.key];
    if (!step) return;
    const at = buttons.indexOf(document.activeElement as HTMLButtonElement);
    const next = (at + step + buttons.length) % buttons.length;
    buttons[next].focus();
    onChange(segments[next].value);
    e.preventDefault();
    e.stopPropagation();
  });
  return {
    element,
    set(value) {
      segments.forEach((s, i) => {
        setAttr(buttons[i], 'aria-checked', String(s.value === value));
        buttons[i].tabIndex = s.value === value ? 0 : -1;
      });
    },
  };
}

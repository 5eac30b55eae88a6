import {
  provideVSCodeDesignSystem,
  vsCodeButton,
  vsCodeCheckbox,
  vsCodeDropdown,
  vsCodeOption,
  vsCodeProgressRing,
  vsCodeTextField,
} from '@vscode/webview-ui-toolkit';
import { h, setAttr } from './dom.ts';

/**
 * The only module that knows the Webview UI Toolkit. The rest of the webview gets small typed controls, so that the
 * library can be replaced in one place.
 */
export function registerToolkit(): void {
  provideVSCodeDesignSystem().register(
    vsCodeButton(),
    vsCodeCheckbox(),
    vsCodeDropdown(),
    vsCodeOption(),
    vsCodeProgressRing(),
    vsCodeTextField(),
  );
}

export interface ButtonOptions {
  label: string;
  icon?: string;
  kind?: 'primary' | 'secondary' | 'icon';
  title?: string;
  onClick: () => void;
}

export interface Button {
  element: HTMLElement;
  set(state: { label?: string; disabled?: boolean; title?: string }): void;
}

/** A labelled button; kind `icon` shows only the codicon and speaks the label. */
export function button(options: ButtonOptions): Button {
  const kind = options.kind ?? 'secondary';
  const element = h('vscode-button', {
    attrs: { appearance: kind, 'aria-label': kind === 'icon' ? options.label : null },
    title: options.title ?? (kind === 'icon' ? options.label : undefined),
    on: { click: () => !element.hasAttribute('disabled') && options.onClick() },
  });
  // A bare text: the toolkit makes every slotted span as small as an icon.
  const text = document.createTextNode(options.label);
  if (options.icon) {
    const glyph = h('span', {
      class: `codicon codicon-${options.icon}`,
      attrs: { 'aria-hidden': 'true', slot: kind === 'icon' ? null : 'start' },
    });
    element.append(glyph);
  }
  if (kind !== 'icon') element.append(text);
  return {
    element,
    set({ label, disabled, title }) {
      if (label !== undefined && text.data !== label) text.data = label;
      if (disabled !== undefined) setAttr(element, 'disabled', disabled);
      if (title !== undefined) element.title = title;
    },
  };
}

export interface Choice {
  value: string;
  label: string;
  disabled?: boolean;
  title?: string;
}

export interface Dropdown {
  element: HTMLElement;
  /** Sets choices (rebuilt only when they differ) and the chosen value. */
  set(choices: readonly Choice[], value: string, disabled?: boolean): void;
}

interface DropdownElement extends HTMLElement {
  value: string;
  open: boolean;
}

/** A labelled list to choose one of. */
export function dropdown(label: string, onChange: (value: string) => void, className = ''): Dropdown {
  const element = h('vscode-dropdown', { class: className, attrs: { 'aria-label': label } }) as DropdownElement;
  let shown = '';
  let current = '';
  element.addEventListener('change', () => {
    if (element.value === current) return;
    current = element.value;
    onChange(element.value);
  });
  return {
    element,
    set(choices, value, disabled = false) {
      const key = JSON.stringify(choices);
      current = value;
      if (key !== shown) {
        shown = key;
        element.replaceChildren(
          ...choices.map((c) =>
            h('vscode-option', {
              text: c.label,
              title: c.title ?? c.label,
              attrs: { value: c.value, disabled: c.disabled, selected: c.value === value },
            }),
          ),
        );
      }
      // The options upgrade and settle in a later task: the value is set again then.
      element.value = value;
      requestAnimationFrame(() => {
        if (current === value && element.value !== value) element.value = value;
      });
      element.title = choices.find((c) => c.value === value)?.title ?? '';
      setAttr(element, 'disabled', disabled);
    },
  };
}

export interface Field {
  element: HTMLElement;
  set(value: string, disabled?: boolean): void;
}

interface FieldElement extends HTMLElement {
  value: string;
}

/** A line of text. `live` reports each key, otherwise Enter and leaving the field do. */
export function textField(
  options: {
    label: string;
    placeholder?: string;
    icon?: string;
    live?: boolean;
    className?: string;
    numeric?: boolean;
  },
  onChange: (value: string) => void,
): Field {
  const element = h('vscode-text-field', {
    class: options.className,
    attrs: {
      'aria-label': options.label,
      placeholder: options.placeholder,
      inputmode: options.numeric ? 'decimal' : null,
    },
    title: options.label,
  }) as FieldElement;
  if (options.icon) {
    element.append(
      h('span', { class: `codicon codicon-${options.icon}`, attrs: { slot: 'start', 'aria-hidden': 'true' } }),
    );
  }
  element.addEventListener(options.live ? 'input' : 'change', () => onChange(element.value));
  return {
    element,
    set(value, disabled = false) {
      if (document.activeElement !== element && element.value !== value) element.value = value;
      setAttr(element, 'disabled', disabled);
    },
  };
}

export interface Checkbox {
  element: HTMLElement;
  set(checked: boolean): void;
}

export function checkbox(label: string, onChange: (checked: boolean) => void): Checkbox {
  const element = h('vscode-checkbox', { text: label }) as HTMLElement & { checked: boolean };
  let current = false;
  element.addEventListener('change', () => {
    if (element.checked === current) return;
    current = element.checked;
    onChange(current);
  });
  return {
    element,
    set(checked) {
      current = checked;
      element.checked = checked;
    },
  };
}

/** A ring that turns while something of unknown length runs. */
export function progressRing(): HTMLElement {
  return h('vscode-progress-ring', { class: 'ring', attrs: { 'aria-hidden': 'true' } });
}

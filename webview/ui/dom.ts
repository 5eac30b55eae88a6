type Child = Node | string | number | null | undefined | false;
type Listeners = { [K in keyof HTMLElementEventMap]?: (event: HTMLElementEventMap[K]) => void };

export interface Props {
  class?: string;
  /** Attributes; false and null leave one out, true sets it empty. */
  attrs?: Record<string, string | number | boolean | null | undefined>;
  on?: Listeners;
  text?: string;
  title?: string;
}

/** Makes an element. Text goes in as text, never as markup. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props?: Props,
  ...children: Child[]
): HTMLElementTagNameMap[K];
export function h(tag: string, props?: Props, ...children: Child[]): HTMLElement;
export function h(tag: string, props: Props = {}, ...children: Child[]): HTMLElement {
  const element = document.createElement(tag);
  if (props.class) element.className = props.class;
  if (props.text !== undefined) element.textContent = props.text;
  if (props.title) element.title = props.title;
  for (const [name, value] of Object.entries(props.attrs ?? {})) setAttr(element, name, value);
  for (const [name, listener] of Object.entries(props.on ?? {}))
    element.addEventListener(name, listener as EventListener);
  append(element, children);
  return element;
}

export function append(parent: Element, children: readonly Child[]): void {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    parent.append(child instanceof Node ? child : String(child));
  }
}

/** Replaces all children. */
export function fill(parent: Element, ...children: Child[]): void {
  parent.replaceChildren();
  append(parent, children);
}

export function setAttr(element: Element, name: string, value: string | number | boolean | null | undefined): void {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? '' : String(value));
}

/** Sets text only when it differs, so that screen readers and selections are left alone. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

export function show(element: HTMLElement, visible: boolean): void {
  element.hidden = !visible;
}

/** A codicon; `label` makes it speak, otherwise it is decoration. */
export function icon(name: string, label?: string): HTMLElement {
  const attrs = label ? { role: 'img', 'aria-label': label } : { 'aria-hidden': 'true' };
  return h('span', { class: `codicon codicon-${name}`, attrs, title: label });
}

let counter = 0;
export function uniqueId(stem: string): string {
  return `${stem}-${++counter}`;
}

/** Calls back with the content size now and whenever it changes (at most once per frame). */
export function onResize(element: Element, callback: (width: number, height: number) => void): () => void {
  let frame = 0;
  const observer = new ResizeObserver((entries) => {
    const box = entries[entries.length - 1].contentRect;
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => callback(box.width, box.height));
  });
  observer.observe(element);
  return () => observer.disconnect();
}

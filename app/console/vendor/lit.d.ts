// The part of lit's types that the console uses.
export type Renderable = unknown;
export class LitElement extends HTMLElement {
  static properties: Record<string, { attribute?: boolean | string; state?: boolean; type?: unknown }>;
  readonly updateComplete: Promise<boolean>;
  requestUpdate(name?: string, before?: unknown): void;
  connectedCallback(): void;
  disconnectedCallback(): void;
  protected createRenderRoot(): HTMLElement | DocumentFragment;
  protected render(): Renderable;
  protected willUpdate(changed: Map<string, unknown>): void;
  protected firstUpdated(changed: Map<string, unknown>): void;
  protected updated(changed: Map<string, unknown>): void;
}
export function html(strings: TemplateStringsArray, ...values: unknown[]): Renderable;
export const nothing: Renderable;
export function keyed(key: unknown, value: Renderable): Renderable;
export function live(value: unknown): unknown;

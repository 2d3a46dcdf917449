/** Sign-in, where the service needs an API key. The key is kept in a cookie that scripts cannot read. */

import { html } from "../vendor/lit.js";
import { Element } from "../shared/element.js";
import { remove, send } from "../shared/api.js";

class SignIn extends Element {
  constructor() {
    super();
    this.busy = false;
  }

  /** @param {SubmitEvent} event */
  async submit(event) {
    event.preventDefault();
    const field = /** @type {HTMLInputElement} */ (this.querySelector("#key"));
    this.busy = true;
    await this.attempt(async () => {
      await send("/v1/session", { key: field.value.trim() });
      this.dispatchEvent(new CustomEvent("signed-in", { bubbles: true }));
    });
    this.busy = false;
    this.requestUpdate();
  }

  render() {
    return html`
      <h1>Sign in</h1>
      <p>This service needs an API key. Its operator creates one with <code>faceter keys create</code>.</p>
      ${this.problem()}
      <form class="card" @submit=${this.submit}>
        <label for="key">API key</label>
        <input id="key" name="key" type="password" required autocomplete="current-password" maxlength="200">
        <button class="primary" ?disabled=${this.busy}>Sign in</button>
      </form>`;
  }
}

customElements.define("sign-in-page", SignIn);

/** Delete the key from this browser. */
export async function signOut() {
  await remove("/v1/session");
}

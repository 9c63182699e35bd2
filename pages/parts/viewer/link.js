// The way back to Python. What a reader marks or paints is sent at once, and kept and sent again
// until Python has confirmed it (`data.saved`), so that a lost connection loses nothing.

const RESEND_MS = 6000;

export class Link {
  /** `onChange` is called when something was confirmed, or the connection came or went. */
  constructor(onChange) {
    this.onChange = onChange;
    this.send = null; // Streamlit's setTriggerValue
    this.nonce = Date.now(); // grows over page loads too
    this.waiting = new Map(); // kind -> {value, sentAt}
    this.connected = true;
    this.app = document.querySelector('[data-testid="stApp"]');
    this.watcher = new MutationObserver(() => this.look());
    if (this.app) this.watcher.observe(this.app, { attributeFilter: ["data-test-connection-state"] });
    this.timer = setInterval(() => this.look(), 2000);
  }

  close() {
    this.watcher.disconnect();
    clearInterval(this.timer);
  }

  /** Send something that needs no confirmation. */
  tell(kind, value) {
    this.send?.(kind, { ...value, nonce: ++this.nonce });
  }

  /** Send something that must arrive; a newer value of the same kind takes its place. */
  deliver(kind, value) {
    const whole = { ...value, nonce: ++this.nonce };
    this.waiting.set(kind, { value: whole, sentAt: Date.now() });
    this.send?.(kind, whole);
    this.onChange();
  }

  /** `saved`: {kind: nonce} of what Python has stored last, or {kind: "problem in words"}. */
  confirm(saved = {}) {
    for (const [kind, { value }] of this.waiting) {
      if (typeof saved[kind] === "number" && saved[kind] >= value.nonce) this.waiting.delete(kind);
    }
  }

  look() {
    const state = this.app?.getAttribute("data-test-connection-state");
    const connected = state == null || state === "CONNECTED" || state === "STATIC_CONNECTED";
    const back = connected && !this.connected;
    const changed = connected !== this.connected;
    this.connected = connected;
    if (connected) {
      for (const entry of this.waiting.values()) {
        if (!back && Date.now() - entry.sentAt < RESEND_MS) continue;
        entry.sentAt = Date.now();
        this.send?.(entry.value.kind, entry.value);
      }
    }
    // Streamlit's dialog on a lost connection makes the page deaf; reading can go on all the same.
    if (!connected) for (let node = this.app; node; node = node.parentElement) node.inert = false;
    if (changed) this.onChange();
  }

  /** What the reader has to know, or "" while all is well. */
  get words() {
    if (!this.connected) {
      return "The connection to the server is lost. You can go on reading: what you mark is kept here and sent when it is back.";
    }
    const late = [...this.waiting.values()].some((w) => Date.now() - w.value.nonce > RESEND_MS);
    return late ? "Your marks are not stored yet; sending them again." : "";
  }
}

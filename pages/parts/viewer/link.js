// The way back to Python. What a reader marks or paints is sent at once, and kept (unsent.js) and
// sent again until Python has confirmed it (`data.saved`), so that a lost connection loses nothing.

import { Unsent } from "./unsent.js";

const RESEND_MS = 6000;
const LISTS = { marks: "changes", mask: "strokes" }; // kind -> name of the list in the message

export class Link {
  /** `onChange` is called when something was confirmed, or the connection came or went. */
  constructor(onChange) {
    this.onChange = onChange;
    this.send = null; // Streamlit's setTriggerValue
    this.nonce = Date.now(); // grows over page loads too
    this.unsent = new Unsent(storage("localStorage"), storage("sessionStorage"));
    this.sentAt = new Map(); // kind -> time of the last message
    this.told = new Map(); // kind -> {value, tries}: what was told last and has not been heard yet
    this.refused = {}; // key -> why
    this.problem = null;
    this.basis = null;
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

  /** Whose marks of which case: {owner, case, reader, phase}. */
  open(place) {
    const found = this.unsent.open(place);
    this.refused = {};
    this.sentAt.clear();
    return found;
  }

  /** Say something that is of the moment: once more where another message overtook it. */
  tell(kind, value) {
    const told = { value: { ...value, nonce: ++this.nonce }, tries: 2 };
    this.told.set(kind, told);
    this.send?.(kind, told.value);
  }

  /** Send a change that must arrive; `key` names it. */
  deliver(kind, key, value) {
    this.unsent.add({ ...value, kind, key, at: ++this.nonce });
    this.flush(kind);
    this.onChange();
  }

  items(kind) {
    return this.unsent.of(kind);
  }

  get waiting() {
    return Object.keys(LISTS).filter((kind) => this.items(kind).length);
  }

  /** Send all that waits of a kind; what was refused goes only when the reader asks for it. */
  flush(kind) {
    const { place } = this.unsent;
    const items = this.items(kind).filter((item) => !(item.key in this.refused));
    if (!place?.reader || !items.length) return;
    const nonce = ++this.nonce;
    for (const item of items) item.nonce ??= nonce;
    this.sentAt.set(kind, Date.now());
    const list = items.map(({ kind: _, at, nonce: __, ...value }) => value);
    this.send?.(kind, { kind, case: place.case, reader: place.reader, basis: this.basis, [LISTS[kind]]: list, nonce });
  }

  /** What Python has dealt with: {kind: number}, what it refused, and why nothing was stored. */
  confirm({ saved = {}, refused = {}, problem = null }) {
    this.problem = problem;
    for (const [kind, told] of this.told) if (saved[kind] >= told.value.nonce) this.told.delete(kind);
    const known = Object.keys(this.refused);
    for (const kind of Object.keys(LISTS)) {
      for (const item of this.items(kind)) {
        if (!item.nonce || !(saved[kind] >= item.nonce) || known.includes(item.key)) continue;
        if (item.key in refused) this.refused[item.key] = refused[item.key];
        else this.unsent.remove(item.key);
      }
    }
  }

  retry() {
    for (const key of Object.keys(this.refused)) delete this.unsent.items.get(key)?.nonce;
    this.refused = {};
    this.waiting.forEach((kind) => this.flush(kind));
    this.onChange();
  }

  /** Give up what could not be stored. */
  discard() {
    for (const key of [...this.unsent.items.keys()]) this.unsent.remove(key);
    this.refused = {};
    this.problem = null;
    this.onChange();
  }

  look() {
    const state = this.app?.getAttribute("data-test-connection-state");
    const connected = state == null || state === "CONNECTED" || state === "STATIC_CONNECTED";
    const back = connected && !this.connected;
    const changed = connected !== this.connected;
    this.connected = connected;
    if (connected) {
      for (const [kind, told] of this.told) {
        if (told.tries-- > 0) this.send?.(kind, told.value);
        else this.told.delete(kind);
      }
      for (const kind of this.waiting) {
        if (back || Date.now() - (this.sentAt.get(kind) ?? 0) >= RESEND_MS) this.flush(kind);
      }
    }
    // Streamlit's dialog on a lost connection makes the page deaf; reading can go on all the same.
    if (!connected) for (let node = this.app; node; node = node.parentElement) node.inert = false;
    if (changed || this.waiting.length) this.onChange();
  }

  /** All that `savedWords` and `warning` look at. */
  get standing() {
    const items = [...this.unsent.items.values()];
    const late = items.some((item) => Date.now() - item.at > RESEND_MS);
    return {
      unsent: items.length,
      refused: Object.values(this.refused)[0] ?? null,
      problem: this.problem,
      connected: this.connected,
      named: Boolean(this.unsent.place?.reader),
      unkept: this.unsent.failed,
      late,
    };
  }
}

/** A storage of the browser, where it gives one. */
function storage(name) {
  try {
    return globalThis[name];
  } catch {
    return undefined;
  }
}

/** The mark that is always in sight: {state, text}. savedAt: ISO time of the last change stored. */
export function savedWords(standing, savedAt, now = new Date()) {
  const { unsent, refused, problem, connected, named } = standing;
  if (unsent && !named) return { state: "wait", text: "Not saved yet: say who is reading" };
  if (unsent && (refused || problem || !connected)) return { state: "bad", text: "Not saved" };
  if (unsent) return { state: "saving", text: "Saving…" };
  if (!savedAt) return { state: "none", text: "Nothing marked yet" };
  const at = new Date(savedAt);
  const time = at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  const today = at.toDateString() === now.toDateString();
  const day = today ? "" : `${at.toLocaleDateString("en-GB", { day: "numeric", month: "short" })}, `;
  return { state: "saved", text: `Saved ${day}${time}` };
}

/** What the reader has to know in a sentence, or "" while all is well. */
export function warning({ unsent, refused, problem, connected, named, unkept, late }) {
  const stay = unkept ? " This browser keeps no copy: leave this page open until it is saved." : "";
  if (!connected) {
    return `The connection to the server is lost. You can go on reading: what you mark is kept here and sent when it is back.${stay}`;
  }
  if (unsent && (problem || refused)) return `Not saved: ${refused ?? problem}${stay}`;
  return unsent && named && late ? `Your marks are not saved yet; sending them again.${stay}` : "";
}

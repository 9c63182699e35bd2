// Counts the seconds at one sheet: active while the page is in sight and there was a movement, key
// or touch within the last half minute, else idle. Tells Python now and then; counts on through
// reloads of the component from what Python has stored.

const QUIET_MS = 30000;
const INPUT = ["pointermove", "pointerdown", "keydown", "wheel", "touchmove"];
const KEY = Symbol.for("bmcore.clocks");

export class Clock {
  constructor({ sheet, active, idle }, now) {
    Object.assign(this, { sheet, active, idle, at: now, input: now });
  }

  /** Go on to `now`; what lies more than `QUIET_MS` after the last input is idle. */
  advance(now, visible) {
    const passed = Math.max(0, now - this.at);
    const quietFrom = this.input + QUIET_MS;
    const active = visible ? Math.min(passed, Math.max(0, quietFrom - this.at)) : 0;
    this.active += active / 1000;
    this.idle += (passed - active) / 1000;
    this.at = now;
  }

  touch(now) {
    this.input = now;
  }
}

/** Streamlit calls this at the first mount and again whenever `data` changes. */
export default function ({ data, parentElement, setStateValue }) {
  if (!data) return undefined;
  const running = (parentElement.bmcoreClock ??= start(parentElement, data));
  running.send = setStateValue;
  return running.stop;
}

function start(parentElement, data) {
  const clocks = (globalThis[KEY] ??= new Map());
  let clock = clocks.get(data.sheet);
  if (!clock) clocks.set(data.sheet, (clock = new Clock(data, performance.now())));
  clock.at = clock.input = performance.now(); // time away from the sheet is not time at it
  const advance = () => clock.advance(performance.now(), !document.hidden);
  const touch = () => {
    advance();
    clock.touch(performance.now());
  };
  const running = { send: null };
  const timer = setInterval(() => {
    advance();
    running.send?.("seconds", { sheet: data.sheet, active: clock.active, idle: clock.idle });
  }, data.tellMs);
  INPUT.forEach((name) => document.addEventListener(name, touch, { passive: true, capture: true }));
  document.addEventListener("visibilitychange", advance);
  running.stop = () => {
    advance();
    clearInterval(timer);
    INPUT.forEach((name) => document.removeEventListener(name, touch, { capture: true }));
    document.removeEventListener("visibilitychange", advance);
    delete parentElement.bmcoreClock;
  };
  return running;
}

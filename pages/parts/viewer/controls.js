// Buttons, sliders, numbers and lists of the toolbar. `syncers` bring each up to date with the state.

export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

export const group = (name, ...nodes) =>
  element("div", { class: "group", role: "group", "aria-label": name }, ...nodes);

export class Controls {
  constructor(viewer) {
    this.viewer = viewer;
    this.syncers = [];
  }

  sync() {
    for (const sync of this.syncers) sync();
  }

  button(text, title, click, { pressed, disabled } = {}) {
    const node = element("button", { type: "button", title }, text);
    node.addEventListener("click", () => {
      click();
      this.viewer.draw();
    });
    if (pressed) this.syncers.push(() => node.setAttribute("aria-pressed", String(Boolean(pressed()))));
    if (disabled) this.syncers.push(() => (node.disabled = Boolean(disabled())));
    return node;
  }

  slider(text, title, [min, max, step], get, set) {
    const input = element("input", { type: "range", min, max, step, "aria-label": title });
    input.addEventListener("input", () => {
      set(Number(input.value));
      this.viewer.draw();
    });
    this.syncers.push(() => (input.value = String(get())));
    return element("label", { title }, text, input);
  }

  /** A number that can be typed; `get` gives its words. What is no number changes nothing. */
  number(text, title, get, set) {
    const input = element("input", { type: "number", class: "number", "aria-label": title, title, step: "any" });
    input.addEventListener("change", () => {
      if (input.value.trim() !== "" && Number.isFinite(Number(input.value))) set(Number(input.value));
      this.viewer.draw();
    });
    this.syncers.push(() => {
      const shown = get();
      if (input.getRootNode().activeElement !== input && input.value !== shown) input.value = shown;
    });
    return element("label", { title }, text, input);
  }

  /** A list to choose from. `options` gives {value: words}; a value that is not in it shows `other`. */
  choice(title, options, get, set, other = null) {
    const select = element("select", { "aria-label": title, title });
    select.addEventListener("change", () => {
      set(select.value);
      this.viewer.draw();
    });
    let listed = null;
    this.syncers.push(() => {
      const found = Object.entries(options());
      if (JSON.stringify(found) !== listed) {
        listed = JSON.stringify(found);
        select.replaceChildren(...found.map(([value, words]) => element("option", { value }, words)));
        if (other) select.append(element("option", { value: "", disabled: true }, other));
      }
      select.value = get() ?? "";
    });
    return select;
  }

  words(get) {
    const node = element("span", { class: "words" });
    this.syncers.push(() => (node.textContent = get()));
    return node;
  }

  shownWhen(node, when) {
    this.syncers.push(() => (node.hidden = !when()));
    return node;
  }
}

// Text is told to Python while it is typed, not only when its field is left: a moment after the last
// letter the field gets the key with which Streamlit takes it over (Enter; Ctrl and Enter in a text
// area). data: {inside: selector of what is watched}.

const REST_MS = 400;

/** Streamlit calls this at the first mount and again whenever `data` changes. */
export default function ({ data, parentElement }) {
  if (!data) return undefined;
  parentElement.bmcoreTyping ??= watch(data.inside);
  return () => {
    parentElement.bmcoreTyping?.();
    delete parentElement.bmcoreTyping;
  };
}

function watch(inside) {
  let timer = 0;
  const typed = ({ target }) => {
    if (!target.matches?.("textarea, input[type=text], input[type=number]") || !target.closest(inside)) return;
    clearTimeout(timer);
    timer = setTimeout(() => take(target), REST_MS);
  };
  document.addEventListener("input", typed, true);
  return () => {
    clearTimeout(timer);
    document.removeEventListener("input", typed, true);
  };
}

function take(target) {
  const key = { key: "Enter", code: "Enter", keyCode: 13, bubbles: true, cancelable: true };
  target.dispatchEvent(new KeyboardEvent("keydown", { ...key, ctrlKey: target.matches("textarea") }));
}

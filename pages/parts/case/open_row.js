// A click on a row of the work list opens its case. Which row it was is read from the list itself,
// after the click has chosen a cell; a choice made by keyboard opens nothing.
// data: {inside: selector of the list, column: head of the column that names the case}.

const HEAD_PX = 36;
const ASK_MS = 40;
const TRIES = 12;

/** Streamlit calls this at the first mount and again whenever `data` changes. */
export default function ({ data, parentElement, setTriggerValue }) {
  if (!data) return undefined;
  parentElement.bmcoreOpening ??= watch(data, (name) => setTriggerValue("opened", name));
  return () => {
    parentElement.bmcoreOpening?.();
    delete parentElement.bmcoreOpening;
  };
}

function watch({ inside, column }, open) {
  const clicked = (event) => {
    const list = event.target.closest?.(inside);
    if (!list || event.button !== 0 || !event.target.closest("[data-testid=stDataFrame]")) return;
    const canvas = list.querySelector("canvas[data-testid=data-grid-canvas]");
    const box = canvas?.getBoundingClientRect();
    if (!box || event.clientX > box.right || event.clientY > box.bottom) return;
    if (event.clientY < box.top + HEAD_PX || event.target.closest("button, input")) return;
    ask(canvas, column, open, TRIES);
  };
  document.addEventListener("click", clicked, true);
  return () => document.removeEventListener("click", clicked, true);
}

function ask(canvas, column, open, left) {
  const name = chosen(canvas, column);
  if (name) open(name);
  else if (left > 0) setTimeout(() => ask(canvas, column, open, left - 1), ASK_MS);
}

/** What the chosen row says in a column; null where no row is chosen. */
export function chosen(canvas, column) {
  const heads = [...canvas.querySelectorAll("th")];
  const at = heads.find((head) => head.textContent.trim() === column)?.ariaColIndex;
  const row = canvas.querySelector("td[aria-selected=true]")?.closest("tr");
  const cell = row && [...row.querySelectorAll("td")].find((td) => td.ariaColIndex === at);
  return cell?.textContent.trim() || null;
}

// A click on a row of a table is told. Which row it was tells the place of the click; what stands
// in it, the table that the list keeps for screen readers. A choice made by keyboard tells nothing.
// data: {inside: selector of the list, column: head of the column that is told, rowPx: height of a
// row, fromPx: where the first column that counts begins}.

const HEAD_PX = 35;

/** Streamlit calls this at the first mount and again whenever `data` changes. */
export default function ({ data, parentElement, setTriggerValue }) {
  if (!data) return undefined;
  parentElement.bmcoreSend = (name) => setTriggerValue("opened", name);
  parentElement.bmcoreOpening ??= watch(data, (name) => parentElement.bmcoreSend(name));
  return () => {
    parentElement.bmcoreOpening?.();
    delete parentElement.bmcoreOpening;
  };
}

function watch(data, open) {
  const clicked = (event) => {
    const list = event.target.closest?.(data.inside);
    if (!list || event.button !== 0 || event.target.closest("button, input")) return;
    const canvas = list.querySelector("canvas[data-testid=data-grid-canvas]");
    const name = canvas && under(canvas, event, data);
    if (name) open(name);
  };
  document.addEventListener("click", clicked, true);
  return () => document.removeEventListener("click", clicked, true);
}

/** What the row under the pointer says in the column; null beside the rows and on their heads. */
function under(canvas, { clientX, clientY }, { column, rowPx, fromPx }) {
  const box = canvas.getBoundingClientRect();
  const scrolled = canvas.closest("[data-testid=stDataFrame]").querySelector(".dvn-scroller")?.scrollTop ?? 0;
  const down = clientY - box.top - HEAD_PX;
  if (down < 0 || clientY > box.bottom || clientX < box.left + fromPx || clientX > box.right) return null;
  const head = [...canvas.querySelectorAll("th")].find((th) => th.textContent.trim() === column);
  const row = canvas.querySelector(`tr[aria-rowindex="${Math.floor((down + scrolled) / rowPx) + 2}"]`);
  const cell = row && [...row.querySelectorAll("td")].find((td) => td.ariaColIndex === head?.ariaColIndex);
  return cell?.textContent.trim() || null;
}

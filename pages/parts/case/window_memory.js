// What this browser window knows of who reads: an id of its own, and the name and role as given here.
// Both outlive a reload and a restart of the server, and end with the window. Told to Python until it
// has taken them up (`data.window`), since a message sent while a page is built can be lost.

const PREFIX = "bmcore reader";
const AGAIN_MS = 1500;

/** Id of this window. */
export function windowId(storage) {
  let found = storage.getItem("bmcore window");
  if (!/^[0-9a-f]{32}$/.test(found ?? "")) {
    found = [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
    storage.setItem("bmcore window", found);
  }
  return found;
}

/** What to tell Python, or null where it knows all. data: {owner, window, who: [name, role] | null}. */
export function remember(storage, data) {
  const name = `${PREFIX}|${encodeURIComponent(data.owner)}`;
  if (data.who) storage.setItem(name, JSON.stringify(data.who));
  if (data.window) return null;
  let who = null;
  try {
    who = JSON.parse(storage.getItem(name));
  } catch {
    who = null; // somebody has changed it
  }
  return { owner: data.owner, window: windowId(storage), who };
}

/** Streamlit calls this at the first mount and again whenever `data` changes. */
export default function ({ data, parentElement, setTriggerValue }) {
  clearInterval(parentElement.bmcoreTelling);
  let told = null;
  try {
    told = data && remember(sessionStorage, data);
  } catch {
    return undefined; // a browser that gives no storage asks again after a reload
  }
  if (!told) return undefined;
  const tell = () => setTriggerValue("told", told);
  setTimeout(tell, 0);
  parentElement.bmcoreTelling = setInterval(tell, AGAIN_MS);
  return () => clearInterval(parentElement.bmcoreTelling);
}

// Files go to the server a piece at a time, straight from the disk of whoever brings them. All files
// are one stream of bytes; the server says how many it has, so that an interrupted upload goes on
// where it stopped, also when the same files are chosen again later.
// data: {most: bytes, mostWords, url}. Tells Python: arrived (id of the upload).

const RETRIES_MS = [500, 1000, 2000, 4000, 8000, 15000, 30000, 30000, 30000];
const STREAM = "application/octet-stream";

/** Streamlit calls this at the first mount and again whenever `data` changes. */
export default function ({ data, parentElement, setTriggerValue }) {
  if (!data) return undefined;
  parentElement.bmcoreUpload ??= build(parentElement);
  Object.assign(parentElement.bmcoreUpload, { data, tell: (id) => setTriggerValue("arrived", id) });
  parentElement.bmcoreUpload.describe();
  return undefined;
}

function build(root) {
  const at = (name) => root.querySelector(`[data-at="${name}"]`);
  const desk = { data: null, tell: null, running: null };
  desk.describe = () => {
    at("limits").textContent = desk.data.limits;
  };
  const say = (words, wrong = false) => {
    at("said").textContent = words;
    at("said").classList.toggle("wrong", wrong);
    at("said").hidden = !words;
  };
  const show = (busy) => {
    at("choose").hidden = busy;
    at("going").hidden = !busy;
  };
  const take = async (files) => {
    const kept = files.filter(([, file]) => file.size > 0 && !junk(file.name));
    if (desk.running) return;
    if (!kept.length) return say("There is nothing to send: no files, or only empty ones.", true);
    const size = kept.reduce((sum, [, file]) => sum + file.size, 0);
    if (size > desk.data.most) {
      return say(`These files are ${bytes(size)}; the server accepts at most ${bytes(desk.data.most)} now.`, true);
    }
    say("");
    show(true);
    desk.running = new AbortController();
    try {
      const id = await send(kept, size, desk, at);
      at("words").textContent = `${bytes(size)} sent.`;
      desk.tell(id);
    } catch (fault) {
      say(fault.name === "AbortError" ? "Stopped. What was sent is removed." : fault.message, fault.name !== "AbortError");
    } finally {
      desk.running = null;
      show(false);
    }
  };
  for (const kind of ["files", "folder"]) {
    const input = at(`${kind}-input`);
    at(kind).addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      const files = [...input.files].map((file) => [file.webkitRelativePath || file.name, file]);
      input.value = "";
      take(files);
    });
  }
  at("stop").addEventListener("click", () => desk.running?.abort());
  drops(at("zone"), take);
  return desk;
}

function drops(zone, take) {
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const found = [];
    for (const entry of entries) await walk(entry, "", found);
    take(found.length ? found : [...event.dataTransfer.files].map((file) => [file.name, file]));
  });
}

async function walk(entry, above, found) {
  if (entry.isFile) {
    found.push([above + entry.name, await new Promise((good, bad) => entry.file(good, bad))]);
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    // a reader gives at most a hundred entries at once
    const some = await new Promise((good, bad) => reader.readEntries(good, bad));
    if (!some.length) return;
    for (const one of some) await walk(one, `${above}${entry.name}/`, found);
  }
}

function junk(name) {
  return name.startsWith(".") || ["Thumbs.db", "desktop.ini"].includes(name);
}

async function send(files, size, desk, at) {
  const whole = new Blob(files.map(([, file]) => file)); // refers to the disk; nothing is read yet
  const list = files.map(([name, file]) => [name, file.size]);
  const mark = named(JSON.stringify(files.map(([name, file]) => [name, file.size, file.lastModified])));
  const signal = desk.running.signal;
  const path = new URL("uploads", new URL(".", location.href));
  const asked = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ files: list, mark }) };
  let there = await ask(path, { ...asked, signal }, at);
  const own = new URL(`uploads/${there.id}`, new URL(".", location.href));
  const begun = { time: performance.now(), received: there.received };
  signal.addEventListener("abort", () => fetch(own, { method: "DELETE" }).catch(() => {}));
  for (;;) {
    draw(there, size, begun, at);
    if (there.received >= size) return there.id;
    const from = there.received;
    const body = new Blob([whole.slice(from, Math.min(size, from + there.piece))], { type: STREAM });
    there = await ask(new URL(`?offset=${from}`, own), { method: "PUT", body, signal }, at, own);
  }
}

/** Ask until there is an answer; after a break, or out of step, how far the server has come. */
async function ask(url, how, at, own = null) {
  for (let tried = 0; ; tried += 1) {
    let answer = null;
    try {
      answer = await fetch(url, { ...how, credentials: "same-origin" });
    } catch (fault) {
      if (fault.name === "AbortError") throw fault;
    }
    if (answer?.ok) return answer.json();
    if (answer && answer.status !== 409 && answer.status < 500) throw new Error(await reason(answer));
    if (tried >= RETRIES_MS.length) {
      throw new Error("The connection is lost. What was sent is kept for 24 hours: choose the same files again to go on.");
    }
    at("words").textContent = "The connection is interrupted; trying again.";
    await rest(RETRIES_MS[tried], how.signal);
    if (own) {
      const state = await fetch(own, { credentials: "same-origin", signal: how.signal }).catch(() => null);
      if (state?.ok) return state.json();
    }
  }
}

async function reason(answer) {
  if (answer.status === 401) return "You are no longer signed in. Sign in and choose the same files again to go on.";
  const told = await answer.json().catch(() => null);
  return told?.error ?? "The server does not accept these files.";
}

function rest(milliseconds, signal) {
  return new Promise((good, bad) => {
    const timer = setTimeout(good, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      bad(new DOMException("stopped", "AbortError"));
    });
  });
}

function draw(there, size, begun, at) {
  const seconds = (performance.now() - begun.time) / 1000;
  const speed = seconds > 1 ? (there.received - begun.received) / seconds : 0;
  const left = speed > 0 ? ` · ${time((size - there.received) / speed)} left` : "";
  at("bar").value = there.received / size;
  at("words").textContent = `${bytes(there.received)} of ${bytes(size)} sent${left}`;
}

function bytes(count) {
  return count >= 1e9 ? `${(count / 1e9).toFixed(1)} GB` : `${Math.max(1, Math.round(count / 1e6))} MB`;
}

function time(seconds) {
  return seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : `${Math.round(seconds / 60)} min`;
}

/** A short name for a text (FNV-1a, twice); it has to differ, not to resist anybody. */
function named(text) {
  let [one, two] = [0x811c9dc5, 0x01000193];
  for (let place = 0; place < text.length; place += 1) {
    const code = text.charCodeAt(place);
    one = Math.imul(one ^ code, 0x01000193);
    two = Math.imul(two ^ code ^ place, 0x85ebca6b);
  }
  return [one, two, text.length].map((number) => (number >>> 0).toString(16)).join("-");
}

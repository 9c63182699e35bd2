// What a reader has done and the server has not confirmed yet: kept in the browser until then, so
// that a reload or a lost connection loses nothing. Each item is an entry of its own, so that two
// windows never write over each other. What was marked before a reader was named stays in its own
// window (sessionStorage) and goes to whoever is named there.

const PREFIX = "bmcore unsent";
const EARLIER = { unaided: ["unaided"], aided: ["unaided", "aided"] }; // what a phase may show

export class Unsent {
  /** shared, own: storages of the browser and of this window; missing ones keep nothing. */
  constructor(shared, own) {
    Object.assign(this, { shared, own, place: null, items: new Map(), failed: false });
  }

  /** Take up what waits for this reader and case; `true` where nameless marks found their reader. */
  open(place) {
    const before = this.place;
    const same = before && before.case === place.case && before.owner === place.owner;
    const named = Boolean(same && !before.reader && place.reader);
    const later = same && before.reader === place.reader && before.phase !== "aided";
    const carried = named || later ? [...this.items.values()] : [];
    this.place = place;
    this.items = new Map();
    for (const phase of EARLIER[place.phase] ?? []) this.load({ ...place, phase });
    const nameless = place.reader ? this.take({ ...place, reader: "" }) : [];
    for (const { nonce, ...item } of [...nameless, ...carried]) if (!this.items.has(item.key)) this.add(item);
    return nameless.length > 0 || (named && carried.length > 0);
  }

  add(item) {
    this.items.set(item.key, item);
    this.write(() => this.area(this.place).setItem(this.name(this.place, item), JSON.stringify(item)));
  }

  remove(key) {
    const item = this.items.get(key);
    this.items.delete(key);
    if (!item) return;
    for (const phase of EARLIER[this.place.phase] ?? []) {
      this.write(() => this.area(this.place).removeItem(this.name({ ...this.place, phase }, item)));
    }
  }

  /** The items of a kind, in the order in which they were made. */
  of(kind) {
    return [...this.items.values()].filter((item) => item.kind === kind);
  }

  // ---- entries -------------------------------------------------------------------------------

  area(place) {
    return place.reader ? this.shared : this.own;
  }

  folder({ owner, case: name, reader, phase }) {
    return `${[PREFIX, owner, name, reader, phase].map(encodeURIComponent).join("|")}|`;
  }

  name(place, item) {
    return `${this.folder(place)}${String(item.at).padStart(16, "0")}|${item.key}`;
  }

  load(place) {
    for (const [, item] of this.entries(place)) this.items.set(item.key, item);
  }

  take(place) {
    const found = this.entries(place);
    for (const [name] of found) this.write(() => this.area(place).removeItem(name));
    return found.map(([, item]) => item);
  }

  entries(place) {
    const found = [];
    this.write(() => {
      const area = this.area(place);
      const folder = this.folder(place);
      const names = Array.from({ length: area.length }, (_, n) => area.key(n));
      for (const name of names.filter((n) => n.startsWith(folder)).sort()) {
        const item = readItem(area.getItem(name));
        if (item) found.push([name, item]);
      }
    });
    return found;
  }

  /** A browser may have no storage, or a full one: then the page alone keeps the item. */
  write(act) {
    try {
      act();
    } catch {
      this.failed = true;
    }
  }
}

function readItem(text) {
  try {
    const item = JSON.parse(text);
    return item && typeof item.key === "string" && typeof item.kind === "string" ? item : null;
  } catch {
    return null; // an entry that somebody has changed
  }
}

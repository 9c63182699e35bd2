// Active and idle seconds at a sheet.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

const source = readFileSync(new URL("../../pages/parts/study/clock.js", import.meta.url), "utf8");
const { Clock } = await import(`data:text/javascript,${encodeURIComponent(source)}`);
const start = (now = 0) => new Clock({ sheet: "s", active: 10, idle: 5 }, now);

test("counts on from what was stored, active for half a minute after the last input", () => {
  const clock = start();
  clock.advance(20000, true);
  assert.deepEqual([clock.active, clock.idle], [30, 5]);
  clock.advance(50000, true); // 10 s are left of the half minute, then 20 s idle
  assert.deepEqual([clock.active, clock.idle], [40, 25]);
});

test("an input makes the time after it active, not the time before", () => {
  const clock = start();
  clock.advance(100000, true);
  clock.touch(100000);
  clock.advance(110000, true);
  assert.deepEqual([clock.active, clock.idle], [50, 75]);
});

test("a page that is out of sight is idle", () => {
  const clock = start();
  clock.advance(20000, false);
  assert.deepEqual([clock.active, clock.idle], [10, 25]);
});

// SPDX-License-Identifier: Apache-2.0
// The report's data, as the page uses it. Integers above 2^53 come as text: what is shown is exact,
// what is drawn is a double.

const DATA = JSON.parse(document.getElementById('data').textContent);
const OF_BOX = DATA.source === 'box';
const SECOND = 1e9;

const nodes = DATA.nodes.map((node, index) => ({
  ...node,
  index,
  name: node.name === '' ? '(no name)' : node.name,
  hasRate: node.rate !== '',
}));

const events = DATA.events.map(
  ([kind, node, seq, time, clock, message, peer, peerClock, label], index) => ({
    index,
    kind,
    node,
    seq,
    time: Number(time),
    clock,
    message,
    peer,
    peerClock,
    label,
  }),
);

// An integer that may be text, with its digits grouped.
function integer(value) {
  return BigInt(value).toLocaleString('en');
}

// A number from text, for what is drawn and for sorting.
function number(text) {
  return text === '' ? NaN : Number(text);
}

const decimal = new Intl.NumberFormat('en', {maximumFractionDigits: 3});

// A clock above the base of the samples, as it is.
function clockText(above) {
  return integer(BigInt(DATA.base) + BigInt(Math.round(above)));
}

// What times along an axis are given in.
const UNIT = [
  {name: 'days', short: 'd', ns: 86400e9, from: 3 * 86400e9},
  {name: 'hours', short: 'h', ns: 3600e9, from: 3 * 3600e9},
  {name: 'minutes', short: 'min', ns: 60e9, from: 600e9},
  {name: 'seconds', short: 's', ns: 1e9, from: 0},
].find(unit => Number(DATA.duration) >= unit.from);

// A time since the start, for a person: "2.5 s", or a box's "2026-01-31 09:30:00.123 UTC".
function timeText(ns) {
  if (Number(DATA.start_ms) > 0) {
    const time = new Date(Number(DATA.start_ms) + ns / 1e6).toISOString();
    return `${time.replace('T', ' ').replace('Z', '')} UTC`;
  }
  return `${decimal.format(ns / SECOND)} s`;
}

function durationText(ns) {
  const seconds = ns / SECOND;
  if (seconds < 120) {
    return `${decimal.format(seconds)} s`;
  }
  const units = [
    ['d', 86400],
    ['h', 3600],
    ['min', 60],
  ];
  const [unit, size] = units.find(([, size]) => seconds >= size);
  return `${decimal.format(seconds / size)} ${unit}`;
}

// An element with attributes and content; text is never read as HTML.
function element(name, attributes = {}, ...content) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) {
      made.setAttribute(attribute, value);
    }
  }
  made.append(...content);
  return made;
}

function byId(id) {
  return document.getElementById(id);
}

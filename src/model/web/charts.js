// SPDX-License-Identifier: Apache-2.0
// The charts over time, and the distribution of jumps, all by uPlot. The charts over time share
// their cursor and their zoom.

const LABELS_FROM = 620; // narrower charts have no room for names at the ends of lines

const compact = new Intl.NumberFormat('en', {notation: 'compact', maximumFractionDigits: 2});
const WHOLE_STEPS = Array.from({length: 19}, (_, power) =>
  [1, 2, 5].map(step => step * 10 ** power),
).flat();
const made = []; // the charts that stand, to be ended before they are made again
const overTime = new Set(); // those among them that share their zoom

// The times at which one of the nodes has a sample.
function unitedTimes(which) {
  const all = new Set();
  for (const node of which) {
    node.time.forEach(time => all.add(Number(time)));
  }
  all.add(0);
  all.add(Number(DATA.duration));
  return [...all].sort((a, b) => a - b);
}

// A column of a node at those times: its last value, null before the first.
function heldAt(times, node, column) {
  let next = 0;
  let value = null;
  return times.map(time => {
    while (next < node.time.length && Number(node.time[next]) <= time) {
      value = Number(node[column][next++]);
    }
    return value;
  });
}

// The clock that all are compared with: the ideal rate's, or the steady pace between the ends.
function idealAt(times) {
  if (DATA.ideal_rate !== '') {
    return times.map(time => (number(DATA.ideal_rate) * time) / SECOND);
  }
  let [first, last] = [null, null];
  for (const node of nodes) {
    node.time.forEach((time, i) => {
      const point = [Number(time), Number(node.clock[i])];
      first = first === null || point[0] < first[0] ? point : first;
      last =
        last === null || point[0] > last[0] || (point[0] === last[0] && point[1] > last[1])
          ? point
          : last;
    });
  }
  if (first === null || last[0] === first[0]) {
    return times.map(() => null);
  }
  const pace = (last[1] - first[1]) / (last[0] - first[0]);
  return times.map(time => (time < first[0] ? null : first[1] + pace * (time - first[0])));
}

// The clock that drift is measured from: the fastest node's, or whichever is ahead.
function leadAt(times) {
  if (DATA.fastest >= 0) {
    return heldAt(times, nodes[DATA.fastest], 'clock');
  }
  const lead = times.map(() => null);
  for (const node of nodes) {
    heldAt(times, node, 'clock').forEach((clock, i) => {
      lead[i] = clock !== null && (lead[i] === null || clock > lead[i]) ? clock : lead[i];
    });
  }
  return lead;
}

// ---- what all charts share ----

function axis(label, extra = {}) {
  const {quiet, grid} = palette();
  return {
    stroke: quiet,
    label,
    labelSize: 22,
    labelFont: '12px system-ui, sans-serif',
    font: '12px system-ui, sans-serif',
    grid: {stroke: grid, width: 1},
    ticks: {stroke: grid, width: 1},
    ...extra,
  };
}

function shortened(name) {
  const letters = [...name];
  return letters.length > 14 ? `${letters.slice(0, 13).join('')}…` : name;
}

// The names of the lines at their right ends, moved apart where they would overlap.
function drawEndLabels(chart) {
  if (chart.width < LABELS_FROM) {
    return;
  }
  const {ctx, bbox} = chart;
  const ratio = devicePixelRatio;
  const height = 14 * ratio;
  const [, last] = chart.series[0].idxs;
  const labels = chart.series
    .slice(1)
    .map((series, i) => ({series, value: chart.data[i + 1][last]}))
    .filter(
      ({series, value}) => series.show && series.named && value !== null && value !== undefined,
    )
    .map(({series, value}) => ({
      text: shortened(series.label),
      colour: series.colour,
      y: chart.valToPos(value, 'y', true),
    }))
    .filter(({y}) => y > bbox.top - 1 && y < bbox.top + bbox.height + 1)
    .sort((a, b) => a.y - b.y);
  let free = bbox.top;
  labels.forEach((label, i) => {
    const least = Math.min(
      label.y,
      bbox.top + bbox.height - (labels.length - i) * height + height / 2,
    );
    label.y = Math.max(least, free);
    free = label.y + height;
  });
  ctx.save();
  ctx.font = `${12 * ratio}px system-ui, sans-serif`;
  ctx.textAlign = 'left';
  ctx.textBaseline = 'middle';
  for (const {text, colour, y} of labels) {
    ctx.fillStyle = colour;
    ctx.fillText(text, bbox.left + bbox.width + 6 * ratio, y);
  }
  ctx.restore();
}

// The border of a legend's mark, as near to the line as CSS has it.
function markerStyle(at) {
  return at === null ? 'dashed' : (['solid', 'dashed', 'dotted', 'double'][dashOf(at)] ?? 'solid');
}

function chartSize(host) {
  const width = Math.max(280, host.clientWidth);
  return {width, height: Math.round(Math.max(220, Math.min(340, width * 0.5)))};
}

function place(host, options, data) {
  const chart = new uPlot({...chartSize(host), ...options}, data, host);
  const watcher = new ResizeObserver(() => {
    const size = chartSize(host);
    if (size.width !== chart.width) {
      chart.setSize(size);
    }
  });
  watcher.observe(host);
  made.push(() => {
    watcher.disconnect();
    chart.destroy();
    host.replaceChildren();
  });
  return chart;
}

// ---- over time ----

// `lines`: {label, node place or null for a line of comparison, values}.
function timeChart(host, title, yLabel, times, lines, valueText) {
  const colours = palette();
  const said = value => (value === null || value === undefined ? '–' : valueText(value));
  const series = lines.map(({label, at}) => {
    const style = at === null ? {stroke: colours.ideal, dash: [4, 4]} : nodeStyle(at);
    return {
      label,
      ...style,
      colour: style.stroke,
      named: true,
      said,
      width: at === null ? 1.5 : 2,
      points: {show: false},
      paths: at === null ? undefined : uPlot.paths.stepped({align: 1}),
      value: (_, value) => said(value),
    };
  });
  const chart = place(
    host,
    {
      padding: [12, host.clientWidth < LABELS_FROM ? 12 : 116, 0, 0],
      scales: {
        x: {time: false},
        y: {
          range: (_, min, max) =>
            uPlot.rangeNum(Math.min(min ?? 0, 0), Math.max(max ?? 0, 1), 0.08, true),
        },
      },
      axes: [
        axis(`${UNIT.name} from the start`, {size: 34}),
        axis(yLabel, {
          size: 64,
          incrs: WHOLE_STEPS,
          values: (_, splits) => splits.map(split => compact.format(split)),
        }),
      ],
      series: [
        {label: 'time', value: (_, value) => (value === null ? '–' : timeText(value * UNIT.ns))},
        ...series,
      ],
      legend: {markers: {width: 3, dash: (_, i) => markerStyle(lines[i - 1]?.at)}},
      cursor: {sync: {key: 'time', scales: ['x', null]}, drag: {x: true, y: false, dist: 6}},
      hooks: {draw: [drawEndLabels]},
    },
    [times.map(time => time / UNIT.ns), ...lines.map(line => line.values)],
  );
  overTime.add(chart);
  addZoomButtons(chart, host, title);
  addKeys(chart, host, title, time => timeText(time * UNIT.ns));
  addTable(host, ['time', ...lines.map(line => line.label)], () => {
    const count = Math.min(TABLE_ROWS, times.length);
    return Array.from({length: count}, (_, i) => {
      const end = (Number(DATA.duration) * i) / Math.max(1, count - 1);
      let index = times.findLastIndex(time => time <= end);
      index = index < 0 ? 0 : index;
      return [timeText(times[index]), ...lines.map(line => said(line.values[index]))];
    });
  });
}

function drawTimeCharts(which) {
  const times = unitedTimes(which);
  const clocks = which.map(node => heldAt(times, node, 'clock'));
  const lead = leadAt(times);
  const line = (node, at, values) => ({label: node.name, at, values});
  const difference = clock =>
    clock.map((value, i) => (value === null || lead[i] === null ? null : lead[i] - value));
  timeChart(
    byId('clock-chart'),
    'Logical clock over time',
    DATA.base === 0 ? 'clock' : `clock above ${integer(DATA.base)}`,
    times,
    [
      ...which.map((node, at) => line(node, at, clocks[at])),
      {label: 'ideal', at: null, values: idealAt(times)},
    ],
    clockText,
  );
  timeChart(
    byId('drift-chart'),
    'Drift over time',
    'behind',
    times,
    which.map((node, at) => line(node, at, difference(clocks[at]))),
    value => decimal.format(value),
  );
  if (!OF_BOX) {
    timeChart(
      byId('queue-chart'),
      'Queue length over time',
      'messages',
      times,
      which.map((node, at) => line(node, at, heldAt(times, node, 'queue'))),
      value => decimal.format(value),
    );
  }
}

// ---- jumps ----

function rangeText([from, to]) {
  return from === to ? integer(from) : `${integer(from)}–${integer(to)}`;
}

// Bars of several series beside each other, around their class; x0 is a bar's left end.
function barsOf(at, count) {
  const width = 0.8 / count;
  return uPlot.paths.bars({
    disp: {
      x0: {unit: 1, values: chart => chart.data[0].map(x => x - 0.4 + width * (at + 0.05))},
      size: {unit: 1, values: chart => chart.data[0].map(() => width * 0.9)},
    },
  });
}

function drawJumps(which) {
  const host = byId('jumps-chart');
  const classes = new Map();
  for (const node of which) {
    node.jumps.forEach(([from, to]) => classes.set(String(from), [from, to]));
  }
  const ordered = [...classes.values()].sort((a, b) => Number(a[0]) - Number(b[0]));
  if (ordered.length === 0) {
    host.replaceChildren(element('p', {class: 'empty'}, 'No jumps were counted.'));
    made.push(() => host.replaceChildren());
    return;
  }
  const columns = which.map(node => {
    const counts = new Map(node.jumps.map(([from, , count]) => [String(from), Number(count)]));
    const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
    const of = ordered.map(([from]) => counts.get(String(from)) ?? 0);
    return {counts: of, shares: of.map(count => (count === 0 ? null : (100 * count) / total))};
  });
  const series = which.map((node, at) => {
    const {stroke, dash} = nodeStyle(at);
    const said = (share, i) =>
      i === null || i === undefined
        ? '–'
        : `${decimal.format(share ?? 0)}% (${integer(columns[at].counts[i])})`;
    return {
      label: node.name,
      stroke,
      dash,
      fill: `${stroke}66`,
      colour: stroke,
      width: 2,
      points: {show: false},
      said,
      paths: barsOf(at, which.length),
      value: (_, share, __, i) => said(share, i),
    };
  });
  const name = index => (ordered[index] === undefined ? '' : rangeText(ordered[index]));
  const chart = place(
    host,
    {
      padding: [12, 16, 0, 0],
      scales: {
        x: {time: false, range: () => [-0.6, ordered.length - 0.4]},
        y: {range: (_, __, max) => [0, Math.max(1, (max ?? 1) * 1.08)]},
      },
      axes: [
        axis('jump', {
          size: 34,
          incrs: [1, 2, 5, 10, 20, 50],
          values: (_, splits) => splits.map(split => (Number.isInteger(split) ? name(split) : '')),
        }),
        axis("share of a node's jumps", {
          size: 64,
          values: (_, splits) => splits.map(split => `${decimal.format(split)}%`),
        }),
      ],
      series: [
        {label: 'jump', value: (_, value) => (value === null ? '–' : name(value))},
        ...series,
      ],
      legend: {markers: {width: 2, dash: (_, i) => markerStyle(i - 1)}},
      cursor: {drag: {x: false, y: false}},
    },
    [ordered.map((_, i) => i), ...columns.map(column => column.shares)],
  );
  addKeys(chart, host, 'Distribution of clock jumps', index => `jump ${name(index)}`);
  addTable(host, ['jump', ...which.map(node => node.name)], () =>
    ordered.map((range, i) => [
      rangeText(range),
      ...columns.map(column => integer(column.counts[i])),
    ]),
  );
}

// The charts of the nodes shown, in the colours of now.
function drawCharts() {
  overTime.clear();
  made.splice(0).forEach(end => end());
  const which = shown.map(index => nodes[index]);
  const ids = ['clock-chart', 'drift-chart', OF_BOX ? null : 'queue-chart', 'jumps-chart'].filter(
    id => id !== null,
  );
  if (which.length === 0) {
    ids.forEach(id =>
      byId(id).replaceChildren(
        element('p', {class: 'empty'}, 'Tick a node in the table to see it here.'),
      ),
    );
    made.push(() => ids.forEach(id => byId(id).replaceChildren()));
    return;
  }
  drawTimeCharts(which);
  drawJumps(which);
}

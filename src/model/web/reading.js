// SPDX-License-Identifier: Apache-2.0
// Reading a chart without a mouse: its values by keys and in words, its zoom by keys and buttons,
// its figures as a table.

const TABLE_ROWS = 11;

// All charts over time show the same span.
function showSpan(min, max) {
  for (const chart of overTime) {
    const times = chart.data[0];
    chart.setScale('x', {
      min: Math.max(min, times[0]),
      max: Math.min(max, times[times.length - 1]),
    });
  }
}

function zoomTime(chart, factor) {
  const {min, max} = chart.scales.x;
  const centre = chart.cursor.idx != null ? chart.data[0][chart.cursor.idx] : (min + max) / 2;
  showSpan(centre - (centre - min) * factor, centre + (max - centre) * factor);
}

function moveTime(chart, share) {
  const {min, max} = chart.scales.x;
  const times = chart.data[0];
  const least = times[0] - min;
  const most = times[times.length - 1] - max;
  const by = Math.max(least, Math.min(most, (max - min) * share));
  showSpan(min + by, max + by);
}

function showAll() {
  showSpan(-Infinity, Infinity);
}

// The cursor by keys, and what it stands on in words.
function addKeys(chart, host, title, positionText) {
  const said = element('span', {class: 'unseen', role: 'status'});
  const zooms = overTime.has(chart);
  const keys = zooms ? ', plus and minus zoom, 0 shows all.' : '.';
  chart.root.setAttribute('tabindex', '0');
  chart.root.setAttribute('role', 'group');
  chart.root.setAttribute('aria-label', `${title}. Left and right arrows read values${keys}`);
  host.append(said);
  const move = step => {
    const [first, last] = chart.series[0].idxs;
    const stride = Math.max(1, Math.round((last - first) / 100));
    const from = chart.cursor.idx ?? (step > 0 ? first - stride : last + stride);
    const idx = Math.max(first, Math.min(last, from + step * stride));
    chart.setCursor({
      left: chart.valToPos(chart.data[0][idx], 'x'),
      top: chart.over.clientHeight / 2,
    });
    const values = chart.series
      .slice(1)
      .map((series, i) => `${series.label} ${series.said(chart.data[i + 1][idx], idx)}`);
    said.textContent = `${positionText(chart.data[0][idx])}: ${values.join(', ')}`;
  };
  const zoom = {
    '+': () => zoomTime(chart, 0.5),
    '=': () => zoomTime(chart, 0.5),
    '-': () => zoomTime(chart, 2),
    0: showAll,
  };
  const actions = {
    ArrowLeft: () => move(-1),
    ArrowRight: () => move(1),
    ...(zooms ? zoom : {}),
  };
  chart.root.addEventListener('keydown', event => {
    if (actions[event.key] && !event.ctrlKey && !event.metaKey && !event.altKey) {
      actions[event.key]();
      event.preventDefault();
    }
  });
}

function addButtons(host, buttons) {
  for (const [text, label, action] of buttons) {
    const button = element('button', {type: 'button', 'aria-label': label, title: label}, text);
    button.addEventListener('click', action);
    host.append(button);
  }
}

// For fingers, which uPlot does not follow.
function addZoomButtons(chart, host, title) {
  const tools = element('div', {
    class: 'tools touch',
    role: 'toolbar',
    'aria-label': `View: ${title}`,
  });
  addButtons(tools, [
    ['−', 'Zoom out', () => zoomTime(chart, 2)],
    ['+', 'Zoom in', () => zoomTime(chart, 0.5)],
    ['←', 'Earlier', () => moveTime(chart, -0.5)],
    ['→', 'Later', () => moveTime(chart, 0.5)],
    ['All', 'Show all', showAll],
  ]);
  host.append(tools);
}

function addTable(host, heads, rows) {
  const details = element('details', {class: 'figures'}, element('summary', {}, 'As a table'));
  details.addEventListener('toggle', () => {
    if (details.children.length === 1) {
      const table = element(
        'table',
        {},
        element(
          'thead',
          {},
          element('tr', {}, ...heads.map(head => element('th', {scope: 'col'}, head))),
        ),
        element(
          'tbody',
          {},
          ...rows().map(([first, ...rest]) =>
            element(
              'tr',
              {},
              element('th', {scope: 'row'}, first),
              ...rest.map(cell => element('td', {}, cell)),
            ),
          ),
        ),
      );
      details.append(
        element(
          'div',
          {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Figures'},
          table,
        ),
      );
    }
  });
  host.append(details);
}

// SPDX-License-Identifier: Apache-2.0
// The table of nodes, which also chooses what the charts show.

const SHOWN_MAX = 16;
const SHOWN_FIRST = 6; // of many nodes
const ROWS_MAX = 200; // in the table at once

const COLUMNS = [
  {
    field: 'rate',
    name: 'Rate',
    hint: 'ticks per second',
    has: () => nodes.some(node => node.hasRate),
  },
  {field: 'ticks', name: 'Ticks', has: () => !OF_BOX},
  {field: 'internal', name: 'Internal', has: () => !OF_BOX},
  {field: 'sent', name: 'Sent'},
  {field: 'received', name: OF_BOX ? 'Addressed' : 'Received'},
  {field: 'final_clock', name: 'Final clock'},
  {field: 'max_jump', name: 'Max jump'},
  {field: 'mean_jump', name: 'Mean jump'},
  {field: 'max_queue', name: 'Max queue', has: () => !OF_BOX},
  {field: 'mean_queue', name: 'Mean queue', has: () => !OF_BOX},
  {field: 'drift', name: 'Drift', hint: OF_BOX ? 'behind the newest' : 'behind the fastest node'},
].filter(column => column.has === undefined || column.has());

const TEXTS = new Set(['rate', 'mean_jump', 'mean_queue']); // decimal text, shown as it came

let shown = []; // indexes of nodes, in the order of the table

function cellText(node, field) {
  const value = node[field];
  return TEXTS.has(field) ? (value === '' ? '–' : value) : integer(value);
}

function compareBy(field) {
  if (field === 'name') {
    return (a, b) => a.name.localeCompare(b.name, 'en', {numeric: true});
  }
  if (TEXTS.has(field)) {
    return (a, b) => (number(a[field]) || 0) - (number(b[field]) || 0);
  }
  return (a, b) => {
    const difference = BigInt(a[field]) - BigInt(b[field]);
    return difference < 0n ? -1 : Number(difference > 0n);
  };
}

// The node that has the most messages with those chosen, in the diagram's events.
function mostLinked(chosen) {
  const counts = new Map();
  for (const {node, peer} of events) {
    if (peer >= 0 && chosen.has(node) !== chosen.has(peer)) {
      const other = chosen.has(node) ? peer : node;
      counts.set(other, (counts.get(other) ?? 0) + 1);
    }
  }
  const [most] = [...counts].sort((a, b) => b[1] - a[1]);
  return most === undefined ? undefined : nodes[most[0]];
}

// All of a few. Of many those with the most to tell: the ends of each scale, and whoever has to do
// with them.
function chooseFirst() {
  if (nodes.length <= SHOWN_MAX / 2) {
    return nodes.map(node => node.index);
  }
  const chosen = new Set();
  const by = field => [...nodes].sort(compareBy(field));
  const drifts = by('drift');
  const ends = [
    nodes[DATA.fastest],
    drifts.at(-1),
    drifts[0],
    by(OF_BOX ? 'sent' : 'max_queue').at(-1),
  ];
  for (const node of ends) {
    if (node !== undefined) {
      chosen.add(node.index);
    }
  }
  while (chosen.size < SHOWN_FIRST) {
    const next = mostLinked(chosen) ?? nodes.find(node => !chosen.has(node.index));
    chosen.add(next.index);
  }
  return [...chosen].sort((a, b) => a - b);
}

function isShown(node) {
  return shown.includes(node.index);
}

function startSummary(changed) {
  const table = byId('summary');
  const tools = byId('nodes-tools');
  const state = {field: null, down: false, filter: ''};
  const body = element('tbody');
  const first = chooseFirst();
  const said = element('span', {class: 'quiet', role: 'status'});

  const rows = () => {
    const wanted = state.filter.toLowerCase();
    const found = nodes.filter(node => node.name.toLowerCase().includes(wanted));
    if (state.field !== null) {
      found.sort(compareBy(state.field));
      if (state.down) {
        found.reverse();
      }
    } else if (nodes.length > first.length) {
      found.sort((a, b) => first.includes(b.index) - first.includes(a.index));
    }
    return found;
  };

  const toggle = (node, box) => {
    if (!box.checked) {
      shown = shown.filter(index => index !== node.index);
    } else if (shown.length === SHOWN_MAX) {
      box.checked = false;
      said.textContent = `The charts show at most ${SHOWN_MAX} nodes.`;
      return;
    } else {
      shown = [...shown, node.index].sort((a, b) => a - b);
    }
    fill();
    byId(box.id)?.focus();
    changed();
  };

  const row = node => {
    const id = `show-${node.index}`;
    const box = element('input', {type: 'checkbox', id});
    box.checked = isShown(node);
    box.addEventListener('change', () => toggle(node, box));
    const name = element('label', {for: id}, element('span', {class: 'name'}, node.name));
    if (isShown(node)) {
      name.append(lineSample(shown.indexOf(node.index)));
    }
    return element(
      'tr',
      {'data-node': node.index},
      element('th', {scope: 'row'}, element('span', {class: 'pick'}, box, name)),
      ...COLUMNS.map(({field}) => element('td', {'data-field': field}, cellText(node, field))),
    );
  };

  const fill = () => {
    const found = rows();
    body.replaceChildren(...found.slice(0, ROWS_MAX).map(row));
    said.textContent =
      found.length > ROWS_MAX
        ? `The first ${ROWS_MAX} of ${integer(found.length)}.`
        : found.length < nodes.length
          ? `${found.length} of ${integer(nodes.length)}`
          : '';
  };

  const heads = [{field: 'name', name: 'Node', hint: 'ticked: shown in the charts'}, ...COLUMNS];
  const head = element(
    'tr',
    {},
    ...heads.map(({field, name, hint}) => {
      const button = element('button', {type: 'button', title: hint}, name);
      const cell = element('th', {scope: 'col', 'aria-sort': 'none'}, button);
      button.addEventListener('click', () => {
        state.down = state.field === field ? !state.down : field !== 'name';
        state.field = field;
        for (const other of cell.parentElement.children) {
          other.setAttribute('aria-sort', 'none');
        }
        cell.setAttribute('aria-sort', state.down ? 'descending' : 'ascending');
        fill();
      });
      return cell;
    }),
  );

  if (nodes.length > SHOWN_MAX / 2) {
    const search = element('input', {
      type: 'search',
      placeholder: 'Find a node',
      'aria-label': 'Find a node',
    });
    search.addEventListener('input', () => {
      state.filter = search.value;
      fill();
    });
    tools.append(search);
  }
  tools.append(said);
  table.append(
    element('caption', {class: 'unseen'}, 'What each node did, in numbers'),
    element('thead', {}, head),
    body,
  );
  table.hidden = nodes.length === 0;
  shown = first;
  return fill;
}

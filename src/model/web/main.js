// SPDX-License-Identifier: Apache-2.0
// Puts the page together: what is said about the history, then the table, the charts, the diagram.

function fact(name, value) {
  const wide = value.length > 16 && 'wide';
  return element('div', {class: wide}, element('dt', {}, name), element('dd', {}, value));
}

function greatest(field) {
  return nodes.reduce(
    (best, node) => (best === null || BigInt(node[field]) > BigInt(best[field]) ? node : best),
    null,
  );
}

function sayHeading() {
  document.title = DATA.title === '' ? 'Lockstep report' : DATA.title;
  byId('title').textContent = document.title;
  const whole = DATA.interrupted === '';
  byId('status').className = whole ? 'whole' : 'interrupted';
  byId('status').textContent = whole
    ? OF_BOX
      ? 'Messages of a box'
      : 'A whole run'
    : `Not whole: ${DATA.interrupted}`;
}

function sayFacts() {
  const sum = field => nodes.reduce((total, node) => total + BigInt(node[field]), 0n);
  const few = BigInt(DATA.nodes_total) > BigInt(nodes.length);
  const facts = [
    fact(
      'Nodes',
      few ? `${integer(nodes.length)} of ${integer(DATA.nodes_total)}` : integer(nodes.length),
    ),
    fact('Time', durationText(Number(DATA.duration))),
  ];
  if (Number(DATA.start_ms) > 0) {
    facts.push(fact('From', timeText(0)));
  }
  const of = few ? ' of these' : '';
  if (nodes.length > 0) {
    facts.push(fact(OF_BOX ? 'Messages' : `Sent${few ? ' by these' : ''}`, integer(sum('sent'))));
    if (!OF_BOX) {
      facts.push(fact(`Received${few ? ' by these' : ''}`, integer(sum('received'))));
    }
    facts.push(fact(`Highest clock${of}`, integer(greatest('final_clock').final_clock)));
    const late = greatest('drift');
    facts.push(fact(`Greatest drift${of}`, `${integer(late.drift)} (${shortened(late.name)})`));
    if (!OF_BOX) {
      const long = greatest('max_queue');
      facts.push(
        fact(`Longest queue${of}`, `${integer(long.max_queue)} (${shortened(long.name)})`),
      );
    }
  }
  byId('facts').append(...facts);
}

function sayHowMade() {
  byId('about').hidden = DATA.parameters.length === 0 && DATA.notes.length === 0;
  byId('about').open = DATA.notes.length > 0;
  byId('parameters').append(...DATA.parameters.map(([name, value]) => fact(name, value)));
  byId('notes').append(...DATA.notes.map(note => element('li', {}, note)));
}

function driftLead(fastest) {
  if (OF_BOX) {
    return (
      "How far each node's newest message is behind the newest of all. A node that is silent " +
      'falls behind.'
    );
  }
  const from =
    fastest !== undefined ? `${fastest.name}, the fastest node` : 'whichever node is ahead';
  return `How far each clock is behind that of ${from}. Receiving pulls a slow clock forward.`;
}

function sayLeads() {
  const fastest = nodes[DATA.fastest];
  byId('nodes-lead').textContent =
    nodes.length === 0
      ? 'There are no nodes in this history.'
      : "Tick a node to see it in the charts. A column's name sorts by it.";
  const ideal =
    DATA.ideal_rate !== ''
      ? `a clock of ${DATA.ideal_rate} ticks per second that nothing slows`
      : 'a steady pace from the first message to the last';
  const closer = window.matchMedia('(pointer: coarse)').matches
    ? 'The buttons show more or less of it.'
    : 'Drag across a chart to look closer; a double click shows all again.';
  byId('clock-lead').textContent =
    `Every node's clock over time. The grey line is the ideal: ${ideal}. ${closer}`;
  byId('drift-lead').textContent = driftLead(fastest);
  byId('jumps-lead').textContent = OF_BOX
    ? 'How far the clock moved from one message of a node to its next. 1: nobody else changed ' +
      'anything between.'
    : "How far one tick moved a node's clock. 1 is a tick like any other; more means that it " +
      'received from a node that was ahead.';
  const above = DATA.base === 0 ? '' : ` above ${integer(DATA.base)}`;
  const some = BigInt(DATA.events_total) > BigInt(events.length);
  const missing = `Here are ${integer(events.length)} of ${integer(DATA.events_total)} events; \
causes that are not among them are missing.`;
  byId('diagram-lead').textContent =
    events.length === 0
      ? 'There are no events to draw.'
      : `Time runs to the right, each line is a node, each arrow a message; the figures are \
clocks${above}. ${some ? missing : ''}`;
  for (const part of ['clock', 'drift', 'queue', 'jumps', 'diagram']) {
    byId(`${part}-section`).hidden = nodes.length === 0 || (part === 'queue' && OF_BOX);
  }
}

sayHeading();
sayFacts();
sayHowMade();
sayLeads();
const updateDiagram = startDiagram();
const fillSummary = startSummary(() => {
  drawCharts();
  updateDiagram(false);
});
let firstTime = true;
watchTheme(() => {
  fillSummary();
  drawCharts();
  updateDiagram(firstTime);
  firstTime = false;
});
document.documentElement.dataset.ready = 'true';

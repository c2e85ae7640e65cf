// SPDX-License-Identifier: Apache-2.0
// The space-time diagram: a line for each node shown, its events along it, an arrow for each
// message. d3-zoom moves and scales time. An event that is pointed at or walked to by keys shows
// what came before it and what came of it.

const SHAPES = {
  // about the middle
  internal: {path: 'M-2.5,0a2.5,2.5 0 1,0 5,0a2.5,2.5 0 1,0 -5,0', name: 'internal'},
  'send-one': {path: 'M0,-5.5L5.5,4.5L-5.5,4.5Z', name: 'send to the first'},
  'send-second': {path: 'M0,5.5L5.5,-4.5L-5.5,-4.5Z', name: 'send to the second'},
  broadcast: {path: 'M0,-6.5L6.5,0L0,6.5L-6.5,0Z', name: 'broadcast'},
  receive: {path: 'M-4.5,-4.5H4.5V4.5H-4.5Z', name: 'receive'},
  message: {path: 'M-4.5,0a4.5,4.5 0 1,0 9,0a4.5,4.5 0 1,0 -9,0', name: 'message'},
  addressed: {path: 'M-4.5,-4.5H4.5V4.5H-4.5ZM-2,-2V2H2V-2Z', name: 'addressed to the node'},
};
const fine = new Intl.NumberFormat('en', {maximumSignificantDigits: 12});
const MARGIN = {left: 14, right: 18, top: 26, bottom: 30};
const REACH = 18; // pixels from an event at which it is meant
const SPACING = 20; // pixels between the events of the busiest node, at first

function shapeSample(kind, attributes = {}) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  svg.setAttribute('viewBox', '-8 -8 16 16');
  svg.setAttribute('class', 'shape');
  svg.setAttribute('aria-hidden', 'true');
  path.setAttribute('d', SHAPES[kind].path);
  for (const [name, value] of Object.entries(attributes)) {
    path.setAttribute(name, value);
  }
  svg.append(path);
  return svg;
}

// Times of round figures, about `count` of them.
function roundTimes(from, to, count) {
  const rough = Math.max((to - from) / Math.max(1, count), 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(factor => factor * power).find(step => step >= rough);
  const times = [];
  for (let time = Math.ceil(from / step) * step; time <= to; time += step) {
    times.push(time);
  }
  return times;
}

function eventText(index) {
  const event = events[index];
  const at = OF_BOX ? '' : `, event ${integer(event.seq)}`;
  const kind = event.label !== '' ? event.label : SHAPES[event.kind].name;
  const peer = event.peer < 0 ? '' : nodes[event.peer].name;
  const of =
    peer === ''
      ? ''
      : causality.isReceipt(event.kind)
        ? ` from ${peer} (clock ${integer(event.peerClock)})`
        : ` to ${peer}`;
  const when = `at ${timeText(event.time)}, clock ${integer(event.clock)}`;
  return `${nodes[event.node].name}${at}: ${kind}${of}, ${when}.`;
}

function startDiagram() {
  const host = byId('diagram');
  const canvas = element('canvas', {
    tabindex: '0',
    role: 'application',
    'aria-roledescription': 'space-time diagram',
    'aria-label':
      'Messages between nodes over time. Left and right arrows walk along a node, up and down ' +
      'change the node, M follows a message, Enter keeps the event, Escape lets it go, plus and ' +
      'minus zoom.',
  });
  const ctx = canvas.getContext('2d');
  const base = {width: 0, height: 0, lane: 0};
  const duration = Math.max(
    Number(DATA.duration),
    events.length > 0 ? events[events.length - 1].time : 0,
    1,
  );
  let lanes = []; // indexes of nodes, from above
  let laneOf = new Map();
  let visible = []; // events of the lanes
  let view = d3.zoomIdentity;
  let chosen = {index: -1, kept: false, past: new Set(), future: new Set()};
  host.append(canvas);

  const plotWidth = () => base.width - MARGIN.left - MARGIN.right;
  const xOf = time => MARGIN.left + view.applyX((time / duration) * plotWidth());
  const timeOf = x => (view.invertX(x - MARGIN.left) / plotWidth()) * duration;
  const yOf = node => MARGIN.top + (laneOf.get(node) + 0.5) * base.lane;

  // ---- drawing ----

  const roleOf = index =>
    chosen.index < 0
      ? 'plain'
      : index === chosen.index
        ? 'chosen'
        : chosen.past.has(index)
          ? 'past'
          : chosen.future.has(index)
            ? 'future'
            : 'other';

  const drawLanes = colours => {
    ctx.font = '600 12px system-ui, sans-serif';
    ctx.textBaseline = 'alphabetic';
    ctx.textAlign = 'left';
    for (const node of lanes) {
      const y = yOf(node);
      ctx.strokeStyle = colours.grid;
      ctx.lineWidth = 2;
      ctx.beginPath();
      ctx.moveTo(MARGIN.left, y);
      ctx.lineTo(base.width - MARGIN.right, y);
      ctx.stroke();
    }
  };

  // Over what else is drawn, so that a name can always be read.
  const drawNames = colours => {
    ctx.font = '600 12px system-ui, sans-serif';
    ctx.textAlign = 'left';
    ctx.textBaseline = 'alphabetic';
    for (const node of lanes) {
      const text = shortened(nodes[node].name);
      const y = yOf(node) - Math.min(16, base.lane / 2 - 2);
      ctx.lineWidth = 4;
      ctx.lineJoin = 'round';
      ctx.strokeStyle = colours.back;
      ctx.strokeText(text, 2, y);
      ctx.fillStyle = nodeStyle(shown.indexOf(node)).stroke;
      ctx.fillText(text, 2, y);
    }
  };

  const drawTimes = colours => {
    const y = base.height - MARGIN.bottom;
    ctx.font = '12px system-ui, sans-serif';
    ctx.textBaseline = 'top';
    ctx.textAlign = 'center';
    const from = Math.max(0, timeOf(MARGIN.left));
    const to = Math.min(duration, timeOf(base.width - MARGIN.right));
    for (const time of roundTimes(from, to, base.width / 100)) {
      const x = xOf(time);
      ctx.strokeStyle = colours.grid;
      ctx.lineWidth = 1;
      ctx.beginPath();
      ctx.moveTo(x, MARGIN.top - 8);
      ctx.lineTo(x, y + 4);
      ctx.stroke();
      const text = `${fine.format(time / UNIT.ns)} ${UNIT.short}`;
      const half = ctx.measureText(text).width / 2;
      ctx.fillStyle = colours.quiet;
      ctx.fillText(text, Math.min(Math.max(x, half + 2), base.width - half - 2), y + 8);
    }
  };

  const drawArrow = (send, receipt, colours) => {
    const from = {x: xOf(send.time), y: yOf(send.node)};
    const to = {x: xOf(receipt.time), y: yOf(receipt.node)};
    if (Math.max(from.x, to.x) < 0 || Math.min(from.x, to.x) > base.width) {
      return;
    }
    const [one, two] = [roleOf(send.index), roleOf(receipt.index)];
    const ofPast = (two === 'past' || two === 'chosen') && one === 'past';
    const ofFuture = (one === 'future' || one === 'chosen') && two === 'future';
    const colour = ofPast
      ? colours.past
      : ofFuture
        ? colours.future
        : chosen.index < 0
          ? colours.ideal
          : colours.faded;
    ctx.strokeStyle = colour;
    ctx.fillStyle = colour;
    ctx.globalAlpha = chosen.index < 0 ? 0.75 : ofPast || ofFuture ? 1 : 0.35;
    ctx.lineWidth = ofPast || ofFuture ? 2.2 : 1.2;
    ctx.setLineDash(ofFuture ? [6, 3] : []);
    ctx.beginPath();
    ctx.moveTo(from.x, from.y);
    ctx.lineTo(to.x, to.y);
    ctx.stroke();
    ctx.setLineDash([]);
    const angle = Math.atan2(to.y - from.y, to.x - from.x);
    ctx.save();
    ctx.translate(to.x - 6 * Math.cos(angle), to.y - 6 * Math.sin(angle));
    ctx.rotate(angle);
    ctx.fill(new Path2D('M1,0L-7,3.5L-7,-3.5Z'));
    ctx.restore();
    ctx.globalAlpha = 1;
  };

  const drawEvent = (event, colours) => {
    const role = roleOf(event.index);
    const colour = {
      plain: nodeStyle(shown.indexOf(event.node)).stroke,
      chosen: colours.text,
      past: colours.past,
      future: colours.future,
      other: colours.faded,
    }[role];
    const shape = new Path2D(SHAPES[event.kind].path);
    ctx.save();
    ctx.translate(xOf(event.time), yOf(event.node));
    if (role === 'chosen') {
      ctx.strokeStyle = colour;
      ctx.lineWidth = 2;
      ctx.beginPath();
      ctx.arc(0, 0, 11, 0, 2 * Math.PI);
      ctx.stroke();
    }
    ctx.fillStyle = role === 'future' ? colours.back : colour;
    ctx.fill(shape, 'evenodd');
    ctx.strokeStyle = role === 'future' ? colour : colours.back;
    ctx.lineWidth = role === 'future' ? 2 : 1;
    ctx.stroke(shape);
    ctx.restore();
  };

  // The clocks under the events, where there is room.
  const drawClocks = (inView, colours) => {
    const free = new Map();
    ctx.font = '11px system-ui, sans-serif';
    ctx.textAlign = 'center';
    ctx.textBaseline = 'top';
    for (const event of inView) {
      const text =
        DATA.base === 0 ? String(event.clock) : `+${BigInt(event.clock) - BigInt(DATA.base)}`;
      const x = xOf(event.time);
      const half = ctx.measureText(text).width / 2;
      if (base.lane >= 34 && x - half > (free.get(event.node) ?? -Infinity)) {
        ctx.fillStyle = roleOf(event.index) === 'other' ? colours.faded : colours.quiet;
        ctx.fillText(text, x, yOf(event.node) + 9);
        free.set(event.node, x + half + 5);
      }
    }
  };

  const draw = () => {
    const colours = palette();
    const ratio = devicePixelRatio;
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, base.width, base.height);
    drawTimes(colours);
    drawLanes(colours);
    const from = timeOf(-20);
    const to = timeOf(base.width + 20);
    const inView = visible.filter(event => event.time >= from && event.time <= to);
    for (const event of visible) {
      const send = causality.sender[event.index];
      if (send >= 0 && laneOf.has(events[send].node)) {
        drawArrow(events[send], event, colours);
      }
    }
    drawClocks(inView, colours);
    inView.forEach(event => drawEvent(event, colours));
    drawNames(colours);
  };

  let asked = 0;
  const redraw = () => {
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(draw);
  };

  // ---- what is chosen ----

  const choose = (index, kept) => {
    if (index < 0) {
      chosen = {index: -1, kept: false, past: new Set(), future: new Set()};
      byId('event').textContent =
        visible.length === 0
          ? ''
          : 'Point at an event, or tap it, to see what came before it and what came of it.';
    } else if (index !== chosen.index || kept !== chosen.kept) {
      const [past, future] = [causality.past(index), causality.future(index)];
      const rest = events.length - past.size - future.size - 1;
      chosen = {index, kept, past, future};
      const counts = [
        `Before it: ${integer(past.size)} events`,
        `after it: ${integer(future.size)}`,
        `concurrent with it: ${integer(rest)}.`,
      ];
      const text = `${eventText(index)} ${counts.join('; ')}`;
      byId('event').replaceChildren(element('strong', {}, kept ? 'Kept: ' : ''), text);
      if (kept) {
        byId('event-said').textContent = text;
      }
    }
    redraw();
  };

  const nearest = (x, y) => {
    let best = {index: -1, distance: REACH};
    for (const event of visible) {
      const distance = Math.hypot(xOf(event.time) - x, yOf(event.node) - y);
      if (distance < best.distance) {
        best = {index: event.index, distance};
      }
    }
    return best.index;
  };

  const at = pointer => {
    const box = canvas.getBoundingClientRect();
    return nearest(pointer.clientX - box.left, pointer.clientY - box.top);
  };

  // ---- moving about ----

  const selection = d3.select(canvas);
  const zoom = d3
    .zoom()
    .filter(event =>
      event.type === 'wheel'
        ? event.ctrlKey || event.metaKey || document.activeElement === canvas
        : event.type !== 'dblclick' && !event.button,
    )
    .on('zoom', event => {
      view = event.transform;
      redraw();
    });
  selection.call(zoom);

  const zoomBy = factor => zoom.scaleBy(selection, factor);
  const pan = share => zoom.translateBy(selection, (-share * plotWidth()) / view.k, 0);
  const showWhole = () => zoom.transform(selection, d3.zoomIdentity);

  const bringIntoView = index => {
    const x = xOf(events[index].time);
    if (x < MARGIN.left + 10 || x > base.width - MARGIN.right - 10) {
      zoom.translateTo(selection, (events[index].time / duration) * plotWidth(), 0);
    }
  };

  const walk = index => {
    if (index >= 0 && laneOf.has(events[index].node)) {
      bringIntoView(index);
      choose(index, true);
    }
  };

  const walkLanes = step => {
    const from = events[chosen.index];
    const lane = laneOf.get(from.node) + step;
    const there = visible.filter(event => event.node === lanes[lane]);
    const closest = there.reduce(
      (best, event) =>
        best === null || Math.abs(event.time - from.time) < Math.abs(best.time - from.time)
          ? event
          : best,
      null,
    );
    walk(closest === null ? -1 : closest.index);
  };

  const follow = index => {
    const received = causality.receiversOf(index).find(i => laneOf.has(events[i].node));
    walk(causality.sender[index] >= 0 ? causality.sender[index] : (received ?? -1));
  };

  const onKey = event => {
    const moves = {
      ArrowLeft: () => walk(causality.previous[chosen.index]),
      ArrowRight: () => walk(causality.next[chosen.index]),
      ArrowUp: () => walkLanes(-1),
      ArrowDown: () => walkLanes(1),
      m: () => follow(chosen.index),
      M: () => follow(chosen.index),
      Enter: () => choose(chosen.index, true),
      Escape: () => choose(-1, false),
    };
    const views = {
      '+': () => zoomBy(1.6),
      '=': () => zoomBy(1.6),
      '-': () => zoomBy(1 / 1.6),
      0: showWhole,
    };
    if (event.ctrlKey || event.metaKey || event.altKey || visible.length === 0) {
      return;
    }
    if (views[event.key]) {
      views[event.key]();
    } else if (moves[event.key] && chosen.index < 0 && event.key.startsWith('Arrow')) {
      const from = timeOf(MARGIN.left);
      walk((visible.find(candidate => candidate.time >= from) ?? visible[0]).index);
    } else if (moves[event.key] && chosen.index >= 0) {
      moves[event.key]();
    } else {
      return;
    }
    event.preventDefault();
  };

  canvas.addEventListener('keydown', onKey);
  canvas.addEventListener('pointermove', event => {
    if (event.pointerType === 'mouse' && event.buttons === 0 && !chosen.kept) {
      const index = at(event);
      if (index !== chosen.index) {
        choose(index, false);
      }
    }
  });
  canvas.addEventListener('pointerleave', () => chosen.kept || choose(-1, false));
  canvas.addEventListener('click', event => {
    const index = at(event);
    choose(index === chosen.index && chosen.kept ? -1 : index, index >= 0);
  });

  addButtons(byId('diagram-tools'), [
    ['−', 'Zoom out', () => zoomBy(1 / 1.6)],
    ['+', 'Zoom in', () => zoomBy(1.6)],
    ['←', 'Earlier', () => pan(-0.5)],
    ['→', 'Later', () => pan(0.5)],
    ['All', 'Show all', showWhole],
  ]);

  // ---- the nodes shown, the size of the window ----

  const resize = () => {
    base.width = Math.max(280, host.clientWidth);
    base.lane = Math.max(30, Math.min(64, 420 / Math.max(1, lanes.length)));
    base.height = Math.round(MARGIN.top + MARGIN.bottom + lanes.length * base.lane);
    canvas.width = base.width * devicePixelRatio;
    canvas.height = base.height * devicePixelRatio;
    canvas.style.width = `${base.width}px`;
    canvas.style.height = `${base.height}px`;
    const size = [
      [0, 0],
      [plotWidth(), base.height],
    ];
    zoom.extent(size).translateExtent(size);
    redraw();
  };

  const busiest = () => {
    const counts = new Map();
    visible.forEach(event => counts.set(event.node, (counts.get(event.node) ?? 0) + 1));
    return Math.max(1, ...counts.values());
  };

  // As much of the beginning as can be read.
  const showBeginning = () => {
    const span =
      visible.length === 0
        ? duration
        : Math.max(1, visible[visible.length - 1].time - visible[0].time);
    const crowd = (busiest() * SPACING * duration) / span / plotWidth();
    zoom.scaleExtent([1, Math.max(20, crowd * 12)]);
    zoom.transform(selection, d3.zoomIdentity.scale(Math.max(1, crowd)));
    if (visible.length > 0) {
      const half = plotWidth() / 2 / Math.max(1, crowd);
      zoom.translateTo(selection, (visible[0].time / duration) * plotWidth() + half, 0);
    }
  };

  const update = first => {
    const busy = new Set(events.map(event => event.node));
    lanes = shown.filter(node => busy.has(node));
    laneOf = new Map(lanes.map((node, lane) => [node, lane]));
    visible = events.filter(event => laneOf.has(event.node));
    byId('diagram-section').classList.toggle('without', lanes.length === 0);
    resize();
    choose(laneOf.has(events[chosen.index]?.node) ? chosen.index : -1, chosen.kept);
    if (first && lanes.length > 0) {
      showBeginning();
    }
    drawLegend(new Set(visible.map(event => event.kind)));
  };

  new ResizeObserver(() => {
    if (host.clientWidth !== base.width && host.clientWidth >= 280) {
      resize();
    }
  }).observe(host);
  return update;
}

function drawLegend(kinds) {
  const colours = palette();
  const entries = [...kinds].map(kind =>
    element(
      'span',
      {},
      shapeSample(kind, {fill: colours.quiet, 'fill-rule': 'evenodd'}),
      SHAPES[kind].name,
    ),
  );
  if (entries.length > 0) {
    const past = shapeSample('receive', {fill: colours.past});
    const future = shapeSample('receive', {
      fill: colours.back,
      stroke: colours.future,
      'stroke-width': 2,
    });
    entries.push(
      element('span', {}, past, 'before (filled)'),
      element('span', {}, future, 'after (hollow, dashed arrows)'),
    );
  }
  byId('diagram-legend').replaceChildren(...entries);
}

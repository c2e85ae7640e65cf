// SPDX-License-Identifier: Apache-2.0
// What happened before what: an event follows the one before it on its node, and a receipt the send
// of its message. Events stand in an order in which causes come first.

const causality = (() => {
  const previous = new Int32Array(events.length).fill(-1); // on the same node
  const next = new Int32Array(events.length).fill(-1);
  const sender = new Int32Array(events.length).fill(-1); // of what a receipt received
  const receivers = new Map(); // of a send: its receipts
  const newest = new Map(); // of a node
  const sends = new Map(); // by message
  const isReceipt = kind => kind === 'receive' || kind === 'addressed';

  for (const event of events) {
    const before = newest.get(event.node);
    if (before !== undefined) {
      previous[event.index] = before;
      next[before] = event.index;
    }
    newest.set(event.node, event.index);
    if (event.message === 0) {
      continue;
    }
    if (!isReceipt(event.kind)) {
      sends.set(event.message, event.index);
    } else if (sends.has(event.message)) {
      const send = sends.get(event.message);
      sender[event.index] = send;
      if (!receivers.has(send)) {
        receivers.set(send, []);
      }
      receivers.get(send).push(event.index);
    }
  }

  // All that is reached from an event by steps that `each` gives, without the event.
  const reached = (from, each) => {
    const found = new Set();
    const open = [from];
    while (open.length > 0) {
      for (const index of each(open.pop())) {
        if (index >= 0 && !found.has(index)) {
          found.add(index);
          open.push(index);
        }
      }
    }
    return found;
  };

  return {
    previous,
    next,
    sender,
    isReceipt,
    receiversOf: index => receivers.get(index) ?? [],
    past: index => reached(index, i => [previous[i], sender[i]]),
    future: index => reached(index, i => [next[i], ...(receivers.get(i) ?? [])]),
  };
})();

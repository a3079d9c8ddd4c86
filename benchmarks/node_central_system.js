// A central system as a Node.js programmer would write it: `ws`, JSON.parse, a switch, JSON.stringify.
// No validation, nothing kept but running transactions. A yardstick for benchmarks/central_system.py,
// which starts it: node node_central_system.js PORT [PING_INTERVAL_MS]
'use strict';

const WebSocket = require('ws');

const PING_TURNS = 300;
const port = Number(process.argv[2]);
const pingInterval = Number(process.argv[3] || 30000);

const transactions = new Map();
let lastTransactionId = 0;

function answer(identity, action, payload) {
  switch (action) {
    case 'BootNotification':
      return { status: 'Accepted', currentTime: new Date().toISOString(), interval: 86400 };
    case 'Heartbeat':
      return { currentTime: new Date().toISOString() };
    case 'StatusNotification':
    case 'MeterValues':
      return {};
    case 'StartTransaction':
      lastTransactionId += 1;
      transactions.set(lastTransactionId, { identity, ...payload });
      return { transactionId: lastTransactionId, idTagInfo: { status: 'Accepted' } };
    case 'StopTransaction':
      transactions.delete(payload.transactionId);
      return { idTagInfo: { status: 'Accepted' } };
    default:
      return undefined;
  }
}

const server = new WebSocket.Server({
  host: '127.0.0.1',
  port,
  backlog: 16384,
  perMessageDeflate: false,
  handleProtocols: (protocols) => (protocols.includes('ocpp1.6') ? 'ocpp1.6' : false),
});

// Each connection is pinged every 30 s, and ended when it did not answer the PING before. In turns, so
// that no phase of a measurement gets all of them at once.
const turns = Array.from({ length: PING_TURNS }, () => new Set());
let turn = 0;

function heard() {
  this.isAlive = true;
}

server.on('connection', (socket, request) => {
  const identity = decodeURIComponent(request.url.slice(request.url.lastIndexOf('/') + 1));
  const mine = turns[turn];
  mine.add(socket);
  socket.isAlive = true;
  socket.on('pong', heard);
  socket.on('close', () => mine.delete(socket));
  socket.on('error', () => socket.terminate());
  socket.on('message', (text) => {
    const [type, uniqueId, action, payload] = JSON.parse(text);
    if (type !== 2) {
      return;
    }
    const result = answer(identity, action, payload);
    socket.send(
      JSON.stringify(result === undefined ? [4, uniqueId, 'NotImplemented', '', {}] : [3, uniqueId, result]),
    );
  });
});

setInterval(() => {
  turn = (turn + 1) % PING_TURNS;
  for (const socket of turns[turn]) {
    if (!socket.isAlive) {
      socket.terminate();
      continue;
    }
    socket.isAlive = false;
    socket.ping();
  }
}, pingInterval / PING_TURNS);

process.on('SIGTERM', () => process.exit(0));

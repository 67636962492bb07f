// JsSIP without a browser: registers over WebSocket, sends a MESSAGE to somebody or waits for one,
// unregisters. Arguments: URL, domain, user, authentication user, password, and whom to write to.
// NODE_EXTRA_CA_CERTS names the CA.
const WebSocketClient = require('ws');
const { EventEmitter } = require('events');
const JsSIP = require('jssip');

const [url, domain, user, auth, password, to] = process.argv.slice(2);

// What JsSIP wants of a socket, on the package ws.
class Socket {
  constructor() {
    this.url = url;
    this.via_transport = new URL(url).protocol === 'wss:' ? 'WSS' : 'WS';
    this.sip_uri = `sip:${new URL(url).host};transport=ws`;
  }
  connect() {
    this.socket = new WebSocketClient(url, 'sip');
    this.socket.on('open', () => this.onconnect());
    this.socket.on('message', (data) => this.ondata(data.toString()));
    this.socket.on('close', (code, reason) => this.ondisconnect(true, code, String(reason)));
    this.socket.on('error', (fault) => console.log(`fault ${fault.message}`));
  }
  disconnect() { this.socket.close(); }
  send(message) { this.socket.send(message); return true; }
  isConnected() { return this.socket && this.socket.readyState === 1; }
  isConnecting() { return this.socket && this.socket.readyState === 0; }
}

const ua = new JsSIP.UA({
  sockets: [new Socket()],
  uri: `sip:${user}@${domain}`,
  authorization_user: auth,
  password,
  realm: domain,
  register_expires: 600,
});
const end = (text, code) => { console.log(text); process.exit(code); };
ua.on('registered', () => {
  console.log('registered');
  if (!to) return;
  ua.sendMessage(`sip:${to}@${domain}`, 'to you', {
    eventHandlers: {
      succeeded: () => { console.log('delivered'); ua.unregister(); },
      failed: ({ cause, response }) =>
        end(`message failed: ${cause} ${response ? response.status_code : ''}`, 1),
    },
  });
});
ua.on('newMessage', ({ originator, request }) => {
  if (originator !== 'remote') return;
  console.log(`message ${request.body}`);
  ua.unregister();
});
ua.on('unregistered', () => end('unregistered', 0));
ua.on('registrationFailed', (event) => end(`registration failed: ${event.cause}`, 1));
setTimeout(() => end('nothing happened', 1), 20000);
ua.start();

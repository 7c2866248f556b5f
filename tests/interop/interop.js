// SPDX-License-Identifier: Apache-2.0
// interop.js - grpc-js against echo_server
//
// usage: interop.js PLAIN-ADDRESS TLS-ADDRESS PKI-DIR
//
// One line a case: PASS name, or FAIL name and why.
'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { createRequire } = require('node:module');
// The modules are beside the build, not beside this file.
const load = createRequire(path.join(process.cwd(), 'x.js'));
const grpc = load('@grpc/grpc-js');
const loader = load('@grpc/proto-loader');

const [plain, secure, pki] = process.argv.slice(2);
const MIB = 1 << 20;
const { status } = grpc;

const proto = grpc.loadPackageDefinition(loader.loadSync(
  path.join(__dirname, 'echo.proto'), { keepCase: true, defaults: true }));
const Echo = proto.sandbox.interop.v1.EchoService;
const unlimited = {
  'grpc.max_receive_message_length': -1,
  'grpc.max_send_message_length': -1,
};

const connect = (options = {}) =>
  new Echo(plain, grpc.credentials.createInsecure(), options);
const client = connect();

const deadline = (ms) => ({ deadline: Date.now() + ms });
const unary = (c, value, options = deadline(10000)) =>
  new Promise((resolve, reject) => c.Echo({ value }, options,
    (error, answer) => error ? reject(error) : resolve(answer.value)));
const code = async (promise) => {
  try {
    await promise;
  } catch (error) {
    return error.code;
  }
  return status.OK;
};
const stats = async () => Object.fromEntries(
  (await unary(client, 'stats')).split(' ').map((pair) => {
    const [key, value] = pair.split('=');
    return [key, Number(value)];
  }));
const until = async (what) => {
  for (let i = 0; i < 500; i++) {
    if (await what())
      return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('it never came about');
};
const ended = (call) => new Promise((resolve) => {
  call.on('error', (error) => resolve(error.code));
  call.on('end', () => resolve(status.OK));
});
const file = (name) => fs.readFileSync(path.join(pki, name));

// Just enough of google.rpc.Status for one assertion: its packed strings.
const strings = (buffer) => buffer.toString('latin1');

const cases = {
  async a_unary_call() {
    assert.equal(await unary(client, 'hello'), 'hello');
    assert.equal(await unary(client, ''), '');
  },

  async a_server_stream() {
    const call = client.Count({ value: '1000 1000' }, deadline(10000));
    let n = 0;
    call.on('data', (message) => {
      assert.equal(message.value.length, 1000);
      n++;
    });
    assert.equal(await ended(call), status.OK);
    assert.equal(n, 1000);
  },

  async a_client_stream() {
    const answer = new Promise((resolve, reject) => {
      const call = client.Join(deadline(10000), (error, message) =>
        error ? reject(error) : resolve(message.value));
      for (let i = 0; i < 1000; i++)
        call.write({ value: 'x'.repeat(1000) });
      call.end();
    });
    assert.equal(await answer, '1000 1000000');
  },

  async a_bidi_stream() {
    const call = client.Chat(deadline(10000));
    const got = [];
    call.on('data', (message) => {
      got.push(message.value);
      if (got.length < 100)
        call.write({ value: String(got.length) });
      else
        call.end();
    });
    call.write({ value: '0' });
    assert.equal(await ended(call), status.OK);
    assert.deepEqual(got, Array.from({ length: 100 }, (_, i) => String(i)));
  },

  async many_calls_at_once_over_the_stream_limit() {
    const answers = await Promise.all(Array.from({ length: 1000 },
      (_, i) => unary(client, String(i))));
    answers.forEach((answer, i) => assert.equal(answer, String(i)));
  },

  async an_error_carries_its_details() {
    const error = await unary(client, 'fail').then(() => null, (e) => e);
    assert.equal(error.code, status.FAILED_PRECONDITION);
    assert.equal(error.details, 'no: 100% sure \u00e9');
    const [details] = error.metadata.get('grpc-status-details-bin');
    for (const part of ['type.googleapis.com/google.rpc.ErrorInfo',
      'INVALID_STATE', 'sandboxd', 'field', 'sandbox_id',
      'type.googleapis.com/google.rpc.RetryInfo'])
      assert.ok(strings(details).includes(part), part);
  },

  async an_unknown_method_is_unimplemented() {
    const call = new Promise((resolve, reject) => client.makeUnaryRequest(
      '/sandbox.interop.v1.EchoService/Nope', (x) => x, (x) => x,
      Buffer.alloc(0), deadline(10000),
      (error) => error ? reject(error) : resolve()));
    assert.equal(await code(call), status.UNIMPLEMENTED);
  },

  async an_unknown_method_answers_before_the_stream_ends() {
    const call = client.makeBidiStreamRequest('/a.B/C', (x) => x, (x) => x,
      deadline(10000));
    call.on('data', () => {});
    assert.equal(await ended(call), status.UNIMPLEMENTED);
  },

  async a_deadline_ends_both_sides() {
    const before = await stats();
    assert.equal(await code(unary(client, 'hang', deadline(100))),
      status.DEADLINE_EXCEEDED);
    await until(async () => {
      const now = await stats();
      return now.expired + now.cancelled ===
        before.expired + before.cancelled + 1 && now.live === before.live;
    });
  },

  async a_cancelled_call_ends_on_the_server() {
    const before = await stats();
    const call = client.Echo({ value: 'hang' }, deadline(10000), () => {});
    await until(async () => (await stats()).live === before.live + 1);
    call.cancel();
    await until(async () => {
      const now = await stats();
      return now.cancelled === before.cancelled + 1 &&
        now.live === before.live;
    });
  },

  async a_message_of_four_mib() {
    const c = connect(unlimited);
    const value = 'x'.repeat(4 * MIB - 5);
    assert.equal((await unary(c, value, deadline(30000))).length,
      value.length);
    c.close();
  },

  async a_message_over_four_mib_is_refused() {
    const c = connect(unlimited);
    assert.equal(await code(unary(c, 'x'.repeat(4 * MIB + 1))),
      status.RESOURCE_EXHAUSTED);
    assert.equal(await unary(c, 'still here'), 'still here');
    c.close();
  },

  async a_reader_that_stops_holds_the_server_back() {
    const c = connect();
    const call = c.Count({ value: '20000 10000' }, deadline(60000));
    const end = ended(call);
    let n = 0;
    call.on('data', () => n++);
    call.pause();
    // 200 MB wait to be sent: the server keeps its queue within bounds and
    // answers others meanwhile.
    await until(async () => (await stats()).queued_max > 0);
    for (let i = 0; i < 20; i++)
      assert.equal(await unary(c, String(i)), String(i));
    assert.ok((await stats()).queued_max < 5 * MIB);
    assert.equal((await stats()).live, 1);
    assert.ok(n < 2000);
    call.resume();
    assert.equal(await end, status.OK);
    assert.equal(n, 20000);
    c.close();
  },

  async headers_over_the_limit_are_refused() {
    const metadata = new grpc.Metadata();
    for (let i = 0; i < 3; i++)
      metadata.set(`x-${i}`, 'a'.repeat(6000));
    const c = connect();
    const call = new Promise((resolve, reject) => c.Echo({ value: '' },
      metadata, deadline(10000),
      (error) => error ? reject(error) : resolve()));
    assert.notEqual(await code(call), status.OK);
    assert.equal(await unary(c, 'still here'), 'still here');
    c.close();
  },

  async mutual_tls_with_good_certificates() {
    const c = new Echo(secure, grpc.credentials.createSsl(file('ca.pem'),
      file('client.key'), file('client.pem')));
    assert.equal(await unary(c, 'x'.repeat(100000)), 'x'.repeat(100000));
    c.close();
  },

  async a_client_of_another_ca_is_refused() {
    const c = new Echo(secure, grpc.credentials.createSsl(file('ca.pem'),
      file('other.key'), file('other.pem')));
    assert.equal(await code(unary(c, 'x', deadline(2000))),
      status.UNAVAILABLE);
    c.close();
  },

  async a_client_without_a_certificate_is_refused() {
    const c = new Echo(secure, grpc.credentials.createSsl(file('ca.pem')));
    assert.equal(await code(unary(c, 'x', deadline(2000))),
      status.UNAVAILABLE);
    c.close();
  },

  async a_client_that_trusts_another_ca_does_not_connect() {
    const c = new Echo(secure, grpc.credentials.createSsl(
      file('other.pem'), file('client.key'), file('client.pem')));
    assert.equal(await code(unary(c, 'x', deadline(2000))),
      status.UNAVAILABLE);
    c.close();
  },

  async nothing_is_left_behind() {
    await until(async () => (await stats()).live === 0);
  },
};

(async () => {
  let failed = 0;

  for (const [name, run] of Object.entries(cases)) {
    try {
      await run();
      console.log(`PASS ${name}`);
    } catch (error) {
      failed++;
      console.log(`FAIL ${name}: ${error.message.split('\n').join(' ')}`);
    }
  }
  process.exit(failed ? 1 : 0);
})();

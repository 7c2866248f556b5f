// SPDX-License-Identifier: Apache-2.0
// front.js - grpc-js against sandboxd-front (front_server)
//
// usage: front.js UNIX-PATH TLS-ADDRESS PKI-DIR
//
// One line a case: PASS name, or FAIL name and why.
'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { createRequire } = require('node:module');
const load = createRequire(path.join(process.cwd(), 'x.js'));
const grpc = load('@grpc/grpc-js');
const loader = load('@grpc/proto-loader');

const [socket, secure, pki] = process.argv.slice(2);
const { status } = grpc;
const proto = grpc.loadPackageDefinition(loader.loadSync(
  ['sandbox/node/v1/node.proto', 'grpc/health/v1/health.proto'], {
    includeDirs: [path.join(__dirname, '../../proto'), '/usr/include'],
    keepCase: true, defaults: true, enums: String, oneofs: true,
  }));
const Node = proto.sandbox.node.v1.NodeService;
const local = [`unix:${socket}`, grpc.credentials.createInsecure()];
const node = new Node(...local);
const deadline = (ms) => ({ deadline: Date.now() + ms });
const file = (name) => fs.readFileSync(path.join(pki, name));
const get_node = (c, ms = 10000) => new Promise((resolve) =>
  c.GetNode({}, deadline(ms), (error) => resolve(error ? error.code : 0)));

// Runs an Exec: what it said, and how it ended.
const exec = (start, input, options = deadline(20000)) =>
  new Promise((resolve) => {
    const call = node.Exec(options);
    const seen = { outputs: [], stdout: [] };

    call.on('data', (message) => {
      seen.outputs.push(message.output);
      if (message.output === 'stdout')
        seen.stdout.push(message.stdout.data);
    });
    call.on('error', (error) => resolve({ ...seen, error }));
    call.on('end', () => resolve(seen));
    call.write({ start });
    for (const part of input)
      call.write({ stdin: part });
    call.end();
  });
const shell = {
  sandbox_id: 'sb_1',
  process: { argv: [Buffer.from('cat')], stdin: true },
};

const cases = {
  async front_answers_health() {
    const health = new proto.grpc.health.v1.Health(...local);
    const answer = await new Promise((resolve, reject) => health.Check(
      { service: 'sandbox.node.v1.NodeService' }, deadline(10000),
      (error, message) => error ? reject(error) : resolve(message)));
    assert.equal(answer.status, 'SERVING');
  },

  async front_passes_calls_to_the_engine() {
    assert.equal(await get_node(node), status.OK);
  },

  async front_passes_exec_to_the_agent() {
    const part = Buffer.alloc(100000, 'x');
    const got = await exec(shell, [part, part, part]);
    assert.equal(got.error, undefined);
    assert.equal(got.outputs[0], 'started');
    assert.equal(got.outputs.at(-1), 'exited');
    assert.equal(Buffer.concat(got.stdout).length, 300000);
  },

  async front_refuses_with_details() {
    const { error } = await exec({ sandbox_id: '../x' }, []);
    assert.equal(error.code, status.INVALID_ARGUMENT);
    const [details] = error.metadata.get('grpc-status-details-bin');
    assert.ok(details.toString('latin1').includes('ErrorInfo'));
  },

  async front_serves_mutual_tls() {
    const c = new Node(secure, grpc.credentials.createSsl(file('ca.pem'),
      file('client.key'), file('client.pem')));
    assert.equal(await get_node(c), status.OK);
    c.close();
  },

  async front_refuses_a_client_of_another_ca() {
    const c = new Node(secure, grpc.credentials.createSsl(file('ca.pem'),
      file('other.key'), file('other.pem')));
    assert.equal(await get_node(c, 2000), status.UNAVAILABLE);
    c.close();
  },

  async front_refuses_a_certificate_that_is_not_for_clients() {
    const c = new Node(secure, grpc.credentials.createSsl(file('ca.pem'),
      file('server.key'), file('server.pem')));
    assert.equal(await get_node(c, 2000), status.UNAVAILABLE);
    c.close();
  },

  async front_refuses_a_client_without_a_certificate() {
    const c = new Node(secure, grpc.credentials.createSsl(file('ca.pem')));
    assert.equal(await get_node(c, 2000), status.UNAVAILABLE);
    c.close();
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

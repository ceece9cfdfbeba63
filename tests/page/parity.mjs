// The page's engine says, byte for byte, what the command says: over the whole corpus of decisions, over every document of the tests, and in
// every kind of deployment file.
//
//     node tests/page/parity.mjs ENGINE.wasm COMMAND MODULES
//
// It runs the engine as the page does, by the same two functions.
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { promisify } from 'node:util'

const [engine, command, modules] = process.argv.slice(2)
const { isMap, isScalar, isSeq, parseDocument } = createRequire(join(resolve(modules), 'x.js'))('yaml')
const root = resolve(import.meta.dirname, '..', '..')
const run = promisify(execFile)

const { exports } = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(engine)))
const [writer, reader] = [new TextEncoder(), new TextDecoder()]
/// The answer as text: it is the bytes that are compared.
function ask(question) {
  const bytes = writer.encode(JSON.stringify(question))
  // Before the memory is looked at: it may grow, and then it is another one.
  const room = exports.room(bytes.length)
  new Uint8Array(exports.memory.buffer, room, bytes.length).set(bytes)
  const length = exports.ask(bytes.length)
  return reader.decode(new Uint8Array(exports.memory.buffer, exports.room(0), length))
}

/// JSON of a node, with every number as it is written. A plain scalar is what JSON would read, else a string.
function json(node) {
  if (isMap(node)) return `{${node.items.map(({ key, value }) => `${JSON.stringify(String(key.source ?? key.value))}:${json(value)}`).join(',')}}`
  if (isSeq(node)) return `[${node.items.map(json).join(',')}]`
  if (!isScalar(node)) return 'null'
  const plain = node.type === 'PLAIN' && /^(null|true|false|-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?)$/.test(node.source)
  return plain ? node.source : JSON.stringify(node.type === 'PLAIN' ? node.source : node.value)
}

/// What a command prints, whatever it comes to.
async function said(args) {
  try {
    return (await run(command, args, { maxBuffer: 1 << 28 })).stdout
  } catch (error) {
    if (typeof error.code !== 'number') throw error
    return error.stdout
  }
}

// Several commands run at once; the page is asked in between, in order.
const waiting = new Set()
async function soon(job) {
  const running = job().finally(() => waiting.delete(running))
  waiting.add(running)
  if (waiting.size >= 4) await Promise.race(waiting)
}

const work = mkdtempSync(join(tmpdir(), 'parity-'))
const wrong = []
let [rows, calls, documents] = [0, 0, 0]

/// How large tables are is another number where addresses have 32 bits, as they have in the filter.
const sizes = (text) => text.replace(/take \d+ KiB together/g, 'take … KiB together')

function same(place, page, theirs) {
  ;[page, theirs] = [sizes(page), sizes(theirs)]
  if (page !== theirs) wrong.push(`${place}\n  page    ${page.slice(0, 2000)}\n  command ${theirs.slice(0, 2000)}`)
}

/// The same document without the spaces that are for people.
const dense = (text) => JSON.stringify(JSON.parse(text))

async function row(file, node, number) {
  const name = node.get('name')
  const get = (map, key) => map.get(key, true)
  const steps = get(node, 'calls').items.map((call) => {
    const text = (key) => get(call, key)?.value
    const request = get(call, 'request')
    const [method, params] = request
      ? [request.get('method'), get(request, 'params')?.value]
      : ['tools/call', `{"name":${JSON.stringify(text('tool'))}${get(call, 'arguments') ? `,"arguments":${text('arguments')}` : ''}}`]
    const id = request?.get('notification') ? '' : '"id":1,'
    const body = `{"jsonrpc":"2.0",${id}"method":${JSON.stringify(method)}${params === undefined ? '' : `,"params":${params}`}}`
    const headers = Object.fromEntries((get(call, 'headers')?.items ?? []).map(({ key, value }) => [key.value, value.value]))
    if (text('caller')) headers.authorization = text('caller')
    // Nothing is expected that comes, so that all is told that is found.
    return { at: new Date(Number(get(call, 'at')?.source ?? 0)).toISOString(), call: body, headers, expect: 'refuse' }
  })
  const policy = json(get(node, 'policy'))
  const tests = JSON.stringify({ tests: [{ name: 'all', steps }] })
  const stem = join(work, `p${number}`)
  writeFileSync(`${stem}.json`, policy)
  writeFileSync(`${stem}.test.json`, tests)
  const checked = JSON.parse(ask({ do: 'check', name: `${stem}.json`, text: policy }))
  if (!checked.answer.valid) return wrong.push(`${file}: ${name}: the policy is refused: ${JSON.stringify(checked)}`)
  const page = ask({ do: 'test', name: `${stem}.test.json`, text: tests })
  // One call with all its comparisons.
  const [first] = steps
  writeFileSync(`${stem}.call.json`, first.call)
  const args = ['explain', '--format', 'json', `${stem}.json`, '--call', `${stem}.call.json`, '--at', first.at]
  for (const [key, value] of Object.entries(first.headers)) args.push('--header', `${key}: ${value}`)
  const { expect: _, ...step } = first
  const explained = JSON.parse(ask({ do: 'try', on: 'nothing', step }))
  await soon(async () => {
    same(`${file}: ${name}`, JSON.stringify(JSON.parse(page).answer), JSON.stringify(JSON.parse(await said(['test', '--format', 'json', `${stem}.json`]))[0]))
    same(`${file}: ${name}, explained`, JSON.stringify(explained.answer), dense(await said(args)))
  })
  rows += 1
  calls += steps.length
}

async function document(path) {
  const bytes = readFileSync(path)
  const text = bytes.toString('utf8')
  // A page has text; what is no UTF-8 never gets there.
  if (Buffer.compare(Buffer.from(text), bytes) !== 0) return
  const checked = JSON.parse(ask({ do: 'check', name: path, text })).answer
  const problems = checked.problems.map(({ at: _, earlier: __, ...finding }) => finding)
  await soon(async () => {
    const [theirs] = JSON.parse(await said(['validate', '--format', 'json', path]))
    same(`${path}: valid`, String(checked.valid), String(theirs.valid))
    same(path, JSON.stringify(problems), JSON.stringify(theirs.problems))
  })
  documents += 1
}

/// Every kind of deployment file, each with options of its own; some are refused.
const MESH = { namespace: 'pay', app: 'shop' }
const DEPLOYMENTS = [
  { for: 'envoy' },
  { for: 'envoy', upstream: 'https://mcp.example.com', listen: '0.0.0.0:8080', admin: '[::1]:9902', ca: '/etc/our ca.pem', wasm: '/opt/filter.wasm', name: 'shop' },
  { for: 'envoy', upstream: 'mcp.internal:8000', live: 'live' },
  { for: 'envoy', upstream: 'mcp.example.com:443' },
  { for: 'envoy', switch: 'off' },
  { for: 'envoy-filter', name: 'shop' },
  { for: 'envoy-filter', switch: 'off' },
  { for: 'envoy-filter', module: '/opt/module.so' },
  { for: 'envoy-module', live: 'live', name: 'shop' },
  { for: 'envoy-module', wasm: 'filter.wasm' },
  { for: 'istio-envoyfilter', ...MESH, port: '8080', wasm: 'oci://registry.example.com/filter:1' },
  { for: 'istio-envoyfilter' },
  { for: 'istio-wasmplugin', ...MESH },
  { for: 'istio-wasmplugin', namespace: 'pay', service: 'shop', switch: 'shadow' },
  { for: 'json' },
  { for: 'json', switch: 'stop' },
  { for: 'limitador' },
  { for: 'ratelimit', name: 'shop' },
]
let [deployments, refused] = [0, 0]

async function deployed(path, options) {
  const place = `${path}: ${JSON.stringify(options)}`
  const checked = JSON.parse(ask({ do: 'check', name: path, text: readFileSync(path, 'utf8') }))
  if (!checked.answer.valid) return
  const page = JSON.parse(ask({ do: 'render', name: basename(path), options }))
  const args = ['render', '--format', 'json', path, ...Object.entries(options).flatMap(([option, value]) => [`--${option}`, value])]
  if (options.live) args.push('--live-out', join(work, `live${deployments}`))
  deployments += 1
  await soon(async () => {
    const theirs = await run(command, args).catch((error) => error)
    if (page.trouble !== undefined) {
      refused += 1
      if (theirs.code !== 2 || !theirs.stderr.includes(page.trouble.replace(/^--\w+ \S+: /, ''))) wrong.push(`${place}\n  page    ${page.trouble}\n  command ${theirs.stderr}`)
    } else same(place, JSON.stringify(page.answer), theirs.stdout === '' ? theirs.stderr : JSON.stringify(JSON.parse(theirs.stdout)))
  })
}

const decisions = join(root, 'tests/data/decisions')
const jobs = []
for (const file of readdirSync(decisions).sort()) {
  const text = readFileSync(join(decisions, file), 'utf8')
  const read = parseDocument(text, { keepSourceTokens: true })
  for (const node of read.contents.items) jobs.push([row, basename(file), node, jobs.length])
}
const catalogue = readdirSync(join(root, 'policies/catalogue'), { withFileTypes: true }).filter((each) => each.isDirectory()).map(({ name }) => `policies/catalogue/${name}`)
const folders = [...catalogue, 'policies', 'tests/data/policies/valid', 'tests/data/policies/invalid', 'tests/data/policies/warned']
for (const folder of folders) {
  for (const file of readdirSync(join(root, folder)).sort()) {
    if (/\.(json|ya?ml)$/.test(file) && !file.includes('.test.') && (!folder.startsWith('policies/catalogue/') || file === 'policy.yaml')) jobs.push([document, join(root, folder, file)])
  }
}
for (const folder of ['policies', 'tests/data/policies/valid', 'tests/data/cli/files']) {
  const files = readdirSync(join(root, folder)).filter((file) => /\.json$/.test(file))
  for (const file of files) for (const options of DEPLOYMENTS) jobs.push([deployed, join(root, folder, file), options])
}
for (const [job, ...args] of jobs) await job(...args)
await Promise.all(waiting)
rmSync(work, { recursive: true })
if (wrong.length > 0) {
  console.error(`${wrong.length} differ:\n${wrong.slice(0, 20).join('\n')}`)
  process.exit(1)
}
console.log(`${calls} calls of ${rows} policies, ${documents} documents, and ${deployments - refused} deployment files: no byte differs`)

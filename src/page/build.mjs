// Makes the page out of what lies beside this file: one file that needs nothing else, and asks nobody for anything.
//
//     node build.mjs ENGINE.wasm REPOSITORY TARGET
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { parseDocument, stringify } from 'yaml'

const [engine, repository, target] = process.argv.slice(2)
const read = (...path) => readFileSync(join(...path), 'utf8')

// What is in the repository for everybody is in the page too: policies with their tests, tools of servers, attacks, and the schema.
const policies = join(repository, 'policies')
const listed = (folder) => (existsSync(folder) ? readdirSync(folder).sort() : [])

/// The schema of a tool's arguments without long texts: names, types and bounds are what the page needs.
function brief(schema) {
  if (Array.isArray(schema)) return schema.map(brief)
  if (typeof schema !== 'object' || schema === null) return schema
  const kept = Object.entries(schema).filter(([key, value]) => !(['description', 'title', '$schema'].includes(key) && typeof value === 'string' && value.length > 100))
  return Object.fromEntries(kept.map(([key, value]) => [key, brief(value)]))
}

const scanned = listed(join(policies, 'catalogue'))
  .filter((name) => existsSync(join(policies, 'catalogue', name, 'policy.yaml')))
  .map((name) => {
    const own = (file) => read(policies, 'catalogue', name, file)
    const tools = JSON.parse(own('tools.json')).tools.map(({ name: tool, description, inputSchema, annotations }) => ({ name: tool, description, inputSchema: brief(inputSchema), annotations }))
    const text = own('policy.yaml')
    return { name, about: parseDocument(text).get('description') ?? '', text, tests: own('policy.test.yaml'), tools }
  })
const written = listed(policies)
  .filter((name) => name.endsWith('.json'))
  .map((name) => name.slice(0, -'.json'.length))
  .filter((name) => !scanned.some((server) => server.name === name))
  .map((name) => {
    const text = read(policies, `${name}.json`)
    const { description = '', tools } = JSON.parse(text)
    // Its tools are known by the policy alone.
    return { name, about: description, text, tests: read(policies, `${name}.test.yaml`), tools: Object.keys(tools).filter((key) => !/[*?]/.test(key)).map((each) => ({ name: each })) }
  })
const servers = [...scanned, ...written].sort((one, other) => (one.name < other.name ? -1 : 1))
const catalogue = servers.map(({ name, about }) => ({ name, about }))
const folder = join(policies, 'attacks')
const attacks = listed(folder)
  .filter((file) => file.endsWith('.yaml'))
  .map((file) => {
    const { title, line, what, beyond, incidents = [], policy, steps } = parseDocument(read(folder, file)).toJS()
    return { name: file.slice(0, -'.yaml'.length), title, line, what, beyond, incidents, policy: stringify(policy, { lineWidth: 0, flowCollectionPadding: false }), steps }
  })
const stock = {
  name: 'stock',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^stock$/ }, ({ path }) => ({ path, namespace: 'stock' }))
    onLoad({ filter: /.*/, namespace: 'stock' }, () => ({
      contents: JSON.stringify({ catalogue, attacks, schema: JSON.parse(read(policies, 'schema', 'plugin.schema.json')) }),
      loader: 'json',
    }))
  },
}

const options = { bundle: true, minify: true, write: false, logLevel: 'warning', legalComments: 'none' }
const script = await build({
  ...options,
  entryPoints: ['main.tsx'],
  format: 'iife',
  target: 'es2024',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  plugins: [stock],
})
const style = await build({ ...options, entryPoints: ['page.css'] })
const text = (result) => result.outputFiles[0].text.trim()
const hash = (source) => `'sha256-${createHash('sha256').update(source).digest('base64')}'`

// Nothing is loaded, sent or embedded. The engine is WebAssembly, which needs a word of its own.
const policy = [
  "default-src 'none'",
  `script-src ${hash(text(script))} 'wasm-unsafe-eval'`,
  `style-src ${hash(text(style))}`,
  "img-src data:",
  "connect-src 'none'",
  "base-uri 'none'",
  "form-action 'none'",
].join('; ')
const packedText = (bytes) => gzipSync(bytes, { level: 9 }).toString('base64')
const parts = { POLICY: policy, STYLE: text(style), SCRIPT: text(script), ENGINE: packedText(readFileSync(engine)), CATALOGUE: packedText(JSON.stringify(servers)) }
const page = read('index.html').replace(/@(POLICY|STYLE|SCRIPT|ENGINE|CATALOGUE)@/g, (_, name) => parts[name])
mkdirSync(target, { recursive: true })
writeFileSync(join(target, 'index.html'), page)
const packed = gzipSync(page, { level: 9 }).length
console.log(`${join(target, 'index.html')}: ${page.length} bytes, ${packed} compressed`)
if (packed > 1_500_000) throw new Error('the page is larger than 1.5 MB compressed')

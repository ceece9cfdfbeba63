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

// What is in the repository for everybody is in the page too: policies with their tests, and the schema.
const policies = join(repository, 'policies')
const catalogue = readdirSync(policies)
  .filter((name) => name.endsWith('.json'))
  .map((name) => name.slice(0, -'.json'.length))
  .map((name) => ({ name, text: read(policies, `${name}.json`), tests: read(policies, `${name}.test.yaml`) }))
const folder = join(policies, 'attacks')
const attacks = (existsSync(folder) ? readdirSync(folder).sort() : [])
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
const wasm = gzipSync(readFileSync(engine), { level: 9 }).toString('base64')
const parts = { POLICY: policy, STYLE: text(style), SCRIPT: text(script), ENGINE: wasm }
const page = read('index.html').replace(/@(POLICY|STYLE|SCRIPT|ENGINE)@/g, (_, name) => parts[name])
mkdirSync(target, { recursive: true })
writeFileSync(join(target, 'index.html'), page)
const packed = gzipSync(page, { level: 9 }).length
console.log(`${join(target, 'index.html')}: ${page.length} bytes, ${packed} compressed`)
if (packed > 1_500_000) throw new Error('the page is larger than 1.5 MB compressed')

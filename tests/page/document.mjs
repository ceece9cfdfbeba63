// Changes of a document change what they say and nothing else: values come out as asked, comments and order stay.
//
//     node tests/page/document.mjs BUILD
import { readFileSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { isDeepStrictEqual } from 'node:util'

const build = resolve(process.argv[2])
const root = resolve(import.meta.dirname, '..', '..')
const { buildSync } = createRequire(join(build, 'x.js'))('esbuild')
const outfile = join(build, 'document.mjs')
const entry = `export * from './document'; export { pieced } from './pieces'`
buildSync({ stdin: { contents: entry, resolveDir: build, loader: 'ts' }, bundle: true, outfile, format: 'esm', platform: 'browser' })
const { parse } = createRequire(join(build, 'x.js'))('yaml')
const { edited, editedAll, membersEdited, renamed, valueOf, written, at, rangeOf, pathAt, pieced } = await import(outfile)

const wrong = []
let changes = 0

// Always the same, so that a failure comes again.
let seed = 7
const random = (below) => {
  seed = (seed * 1103515245 + 12345) % 2147483648
  return Math.floor((seed / 2147483648) * below)
}
const pick = (list) => list[random(list.length)]

const VALUES = [1, 'text', 'two words', true, 'yes: no', '# none', '12', '', {}, { action: 'deny' }, ['a', 'b'], [{ path: 'args.a', op: 'eq', value: 1 }],
  { require: [{ conditions: [{ path: 'args.amount', op: 'lte', value: 100 }], on_deny: 'A long sentence that does not fit on a line of seventy characters.' }] }]

function placesOf(value, path = []) {
  if (typeof value !== 'object' || value === null) return [path]
  return [...(path.length > 0 ? [path] : []), ...Object.entries(value).flatMap(([key, inner]) => placesOf(inner, [...path, Array.isArray(value) ? Number(key) : key]))]
}

const comments = (text) => text.split('\n').flatMap((line) => /(?:^|\s)#\s.*/.exec(line)?.[0].trim() ?? []).sort()

function set(value, [key, ...rest], inner) {
  const copy = Array.isArray(value) ? [...value] : { ...value }
  if (rest.length > 0) copy[key] = set(copy[key] ?? (typeof rest[0] === 'number' ? [] : {}), rest, inner)
  else if (inner !== undefined) copy[key] = inner
  else if (Array.isArray(copy)) copy.splice(key, 1)
  else delete copy[key]
  return copy
}

function tried(name, text, path, value) {
  const before = valueOf(text)
  const expected = set(before, path, value)
  let after
  try {
    after = edited(text, path, value)
  } catch (error) {
    return wrong.push(`${name}: ${path.join('/')}: ${error.stack}`)
  }
  changes += 1
  const found = valueOf(after)
  if (after.trimStart()[0] !== '{' && !isDeepStrictEqual(found, parse(after))) wrong.push(`${name}: read otherwise than as a whole:\n${after}`)
  if (!isDeepStrictEqual(found, expected)) wrong.push(`${name}: ${path.join('/')} = ${JSON.stringify(value)}\n${after}\n${JSON.stringify(found)}\n${JSON.stringify(expected)}`)
  else if (JSON.stringify(Object.keys(at(found, path.slice(0, -1)) ?? {})) !== JSON.stringify(Object.keys(at(expected, path.slice(0, -1)) ?? {}))) wrong.push(`${name}: another order`)
  // What is taken out takes its own comments along; what is set does not take any outside of it.
  const gone = rangeOf(text, path)
  const outside = gone ? comments(text.slice(0, gone[0])) : comments(text)
  const kept = comments(after)
  for (const comment of outside) {
    const index = kept.indexOf(comment)
    if (index < 0 && !(value === undefined)) wrong.push(`${name}: ${path.join('/')}: the comment ${comment} is lost\n${after}`)
    else kept.splice(index, 1)
  }
  return after
}

const HAND = [
  `# head\nversion: "1" # one\ndefault: deny\n\n# tools\ntools:\n  a: {} # free\n  # before b\n  b:\n    # inside\n    require:\n      - conditions:\n          - {path: args.x, op: eq, value: 1} # x\n      # last\n    limits:\n    - counter: c\n      window: day\n      max: 3\n  "c*": {action: deny, reason: "no, never"}\n# tail\n`,
  'version: "1"\ndefault: deny\ntools: {}\n',
  'version: "1"\ndefault: deny\ntools:\n',
  '{"version": "1", "default": "deny", "tools": {"a": {}, "b": {"action": "deny"}}}',
  'version: "1"\ndefault: deny\ntools: {a: {}, b: {require: [{conditions: [{path: args.x, op: eq, value: 1}]}]}}\nhide: [x, y]',
]
const policies = join(root, 'policies')
const texts = HAND.map((text, at) => [`hand ${at}`, text])
for (const file of readdirSync(policies).filter((name) => name.endsWith('.json') || name.endsWith('.test.yaml'))) texts.push([file, readFileSync(join(policies, file), 'utf8')])
for (const [number, [name, text]] of [...texts].entries()) if (name.endsWith('.json') && number % 3 === 0) texts.push([`${name} in YAML`, `# of ${name}\n${written(valueOf(text))}\n`])

// Once as whole texts, and once in pieces, as large ones are.
for (const [name, original, from] of texts.flatMap(([name, text]) => [[name, text, Infinity], [`${name}, in pieces`, `${text}\n`, 0]])) {
  pieced.from = from
  const places = placesOf(valueOf(original))
  for (const path of !name.startsWith('hand') && places.length > 6 ? Array.from({ length: 6 }, () => pick(places)) : places) {
    for (const value of [pick(VALUES), pick(VALUES), undefined]) tried(name, original, path, value)
    const range = rangeOf(original, path)
    if (!range) wrong.push(`${name}: ${path.join('/')} is nowhere`)
    else if (!isDeepStrictEqual(pathAt(original, range[0]).slice(0, path.length), path)) wrong.push(`${name}: ${path.join('/')} is found as ${pathAt(original, range[0]).join('/')}`)
  }
  // Many changes, one after the other.
  let text = original
  for (let step = 0; step < 5 && text; step += 1) {
    const tools = Object.keys(at(valueOf(text), ['tools']) ?? {})
    if (Array.isArray(at(valueOf(text), ['tests']))) break
    const path = random(3) === 0 || tools.length === 0 ? ['tools', `new_${step}`] : pick([['tools', pick(tools)], ['tools', pick(tools), 'action'], ['tools', pick(tools), 'limits', 0], ['hide', 0], ['default']])
    const inner = at(valueOf(text), path.slice(0, -1))
    if (typeof path.at(-1) === 'number' && inner !== undefined && !Array.isArray(inner)) continue
    text = tried(`${name} after ${step}`, text, path, path.at(-1) === 'default' ? pick(['allow', 'deny']) : random(4) === 0 && at(valueOf(text), path) !== undefined ? undefined : pick(path.length === 2 && path[0] === 'tools' ? VALUES.slice(-4).filter((each) => !Array.isArray(each)) : VALUES)) ?? text
  }
  const named = Object.keys(at(valueOf(original), ['tools']) ?? {})
  if (!Array.isArray(at(valueOf(original), ['tests']))) {
    const many = new Map([...(name.startsWith('hand') ? [] : named.slice(0, 5)), ...Array.from({ length: 60 }, (_, at) => `many ${at}`)].map((each) => [each, pick(VALUES.slice(-4))]))
    const after = editedAll(original, ['tools'], many)
    const expected = set(valueOf(original), ['tools'], { ...at(valueOf(original), ['tools']), ...Object.fromEntries(many) })
    changes += many.size
    if (!isDeepStrictEqual(valueOf(after), expected) || (after.trimStart()[0] !== '{' && !isDeepStrictEqual(parse(after), expected))) wrong.push(`${name}: many at once:\n${after}`)
    if (from === 0 && comments(original).join() !== comments(after).join()) wrong.push(`${name}: many at once: comments are lost:\n${after}`)
  }
  for (const key of named.slice(0, 3)) {
    const before = at(valueOf(original), ['tools', key])
    const next = { action: 'deny', ...Object.fromEntries(Object.entries(before).slice(0, 2)) }
    const after = membersEdited(original, ['tools', key], next)
    if (!isDeepStrictEqual(at(valueOf(after), ['tools', key]), next)) wrong.push(`${name}: ${key}: not member by member:\n${after}`)
  }
  const [tool] = named
  if (tool) {
    const after = renamed(original, ['tools', tool], 'other: one')
    if (Object.keys(valueOf(after).tools)[0] !== 'other: one') wrong.push(`${name}: not renamed`)
  }
}
if (wrong.length > 0) {
  console.error(`${wrong.length} of ${changes} wrong:\n${wrong.slice(0, 12).join('\n---\n')}`)
  process.exit(1)
}
console.log(`${changes} changes, each of what it says and of nothing else`)

// What can be written at a place of the text: from the schema of the language, and from the tools that are loaded.

import type { Completion, CompletionContext, CompletionResult } from '@codemirror/autocomplete'
import { getLocation } from 'jsonc-parser'
import { schema as language } from 'stock'
import { syntaxOf } from './document'
import { type Schema as ToolSchema, type Tool, get } from './store'

type Schema = Record<string, unknown>
interface Spot { path: (string | number)[]; key: boolean; quoted: boolean }

export function complete(context: CompletionContext): CompletionResult | null {
  const text = context.state.doc.toString()
  const word = context.matchBefore(/[\w.*[\]@$/-]*/)
  const from = word?.from ?? context.pos
  if (!context.explicit && from === context.pos && !/["{[,\s:-]$/.test(text.slice(0, context.pos))) return null
  const spot = syntaxOf(text) === 'json' ? ofJson(text, context.pos) : ofYaml(text, from)
  if (!spot) return null
  const options = spot.key ? keys(spot) : values(spot)
  return options.length > 0 ? { from, options: options.map((option) => placed(option, spot, text)), validFor: /^[\w.*[\]@$/-]*$/ } : null
}

function placed(option: Completion, spot: Spot, text: string): Completion {
  const json = syntaxOf(text) === 'json'
  const label = option.label
  if (!json) return { ...option, apply: spot.key ? `${/^[\w.-]+$/.test(label) ? label : JSON.stringify(label)}: ` : label }
  const plain = spot.quoted || (!spot.key && /^(true|false|null|-?\d+)$/.test(label))
  return { ...option, apply: plain ? label : spot.key ? `${JSON.stringify(label)}: ` : JSON.stringify(label) }
}

function ofJson(text: string, offset: number): Spot | null {
  const { path, isAtPropertyKey } = getLocation(text, offset)
  const quotes = text.slice(text.lastIndexOf('\n', offset - 1) + 1, offset).match(/(?<!\\)"/g)?.length ?? 0
  return { path: isAtPropertyKey ? path.slice(0, -1) : path, key: isAtPropertyKey, quoted: quotes % 2 === 1 }
}

/// The path of a place in YAML, by its indentation and by the braces before it.
function ofYaml(text: string, offset: number): Spot | null {
  const lines = text.slice(0, offset).split('\n')
  const last = lines.pop() ?? ''
  if (/(^|\s)#/.test(last)) return null
  const stack: { indent: number; key: string | number }[] = []
  for (const line of lines) if (line.trim() !== '') block(line, stack)
  const rest = block(last, stack)
  const path = stack.map(({ key }) => key)
  const inner = flow(rest.text)
  const all = [...path, ...inner.path]
  if (inner.open) return { path: all, key: inner.key, quoted: false }
  return { path: all, key: !rest.value, quoted: false }
}

function block(line: string, stack: { indent: number; key: string | number }[]): { text: string; value: boolean } {
  let indent = line.length - line.trimStart().length
  let text = line.trimStart()
  if (text.startsWith('#')) return { text: '', value: false }
  if (text === '') {
    while (stack.length > 0 && stack.at(-1)!.indent >= indent) stack.pop()
    return { text: '', value: false }
  }
  while (stack.length > 0 && stack.at(-1)!.indent >= indent) stack.pop()
  for (let dash = /^-\s*/.exec(text); dash; dash = /^-\s*/.exec(text)) {
    stack.push({ indent, key: 0 })
    indent += dash[0].length
    text = text.slice(dash[0].length)
  }
  const named = /^("(?:[^"\\]|\\.)*"|'[^']*'|[^\s{}[\],:#"'][^{}[\],:#]*):(\s+|$)/.exec(text)
  if (!named) return { text, value: stack.at(-1)?.key === 0 && /^[\w.]/.test(text) }
  stack.push({ indent, key: named[1]!.replace(/^["']|["']$/g, '') })
  return { text: text.slice(named[0].length), value: named[2] !== '' }
}

function flow(text: string): { path: (string | number)[]; key: boolean; open: boolean } {
  const open: { list: boolean; key: string | number | null }[] = []
  let word = ''
  let quote = ''
  for (const character of text) {
    if (quote !== '') {
      if (character === quote) quote = ''
      else word += character
    } else if ((character === '"' || character === "'") && word.trim() === '') [quote, word] = [character, '']
    else if (character === '{' || character === '[') {
      open.push({ list: character === '[', key: character === '[' ? 0 : null })
      word = ''
    } else if (character === '}' || character === ']') open.pop()
    else if (character === ',') {
      const top = open.at(-1)
      if (top && !top.list) top.key = null
      word = ''
    } else if (character === ':' && open.length > 0 && open.at(-1)!.key === null) {
      open.at(-1)!.key = word.trim()
      word = ''
    } else word += character
  }
  const top = open.at(-1)
  return { path: open.flatMap(({ key }) => (key === null ? [] : [key])), key: top !== undefined && top.key === null, open: top !== undefined }
}

// --- The schema of the language ---

function held(schema: unknown): Schema {
  return typeof schema === 'object' && schema !== null ? (schema as Schema) : {}
}

/// All that a schema can be.
function forms(schema: unknown): Schema[] {
  const one = held(schema)
  const reference = one['$ref']
  if (typeof reference === 'string') {
    const found = reference.slice(2).split('/').reduce<unknown>((inner, name) => held(inner)[name], language)
    return forms({ ...held(found), ...('description' in one ? { description: one['description'] } : {}) })
  }
  const branches = [one['then'], one['else']].filter((each) => each !== undefined)
  const more = [...[one['anyOf'], one['oneOf'], one['allOf']].filter(Array.isArray).flat(), ...branches]
  return [one, ...more.flatMap(forms)]
}

function inner(schema: Schema, key: string | number): unknown[] {
  if (typeof key === 'number') return [schema['items']]
  const properties = held(schema['properties'])
  if (key in properties) return [properties[key]]
  return [schema['additionalProperties'], ...Object.values(held(schema['patternProperties']))]
}

function schemas(path: readonly (string | number)[]): Schema[] {
  let found = forms(language)
  for (const key of path) found = found.flatMap((schema) => inner(schema, key)).filter((schema) => typeof schema === 'object').flatMap(forms)
  return found
}

function keys({ path }: Spot): Completion[] {
  const options = new Map<string, Completion>()
  for (const schema of schemas(path)) {
    for (const [label, property] of Object.entries(held(schema['properties']))) {
      const about = held(property)['description']
      options.set(label, { label, type: 'property', ...(typeof about === 'string' ? { info: about } : {}) })
    }
  }
  if (path.at(-1) === 'tools') for (const { name, description } of get().tools) options.set(name, { label: name, type: 'function', detail: 'tool', info: description ?? '', boost: 1 })
  return [...options.values()]
}

function values({ path }: Spot): Completion[] {
  const options: Completion[] = []
  for (const schema of schemas(path)) {
    const about = schema['description']
    const info = typeof about === 'string' ? { info: about } : {}
    const words = [...((schema['enum'] as unknown[] | undefined) ?? []), ...('const' in schema ? [schema['const']] : [])]
    for (const word of words) {
      const line = typeof about === 'string' ? about.split('\n').find((each) => each.startsWith(`- \`${String(word)}\``)) : undefined
      options.push({ label: String(word), type: 'enum', ...(line ? { info: line.slice(2) } : info) })
    }
    if (schema['type'] === 'boolean') options.push({ label: 'true', ...info }, { label: 'false', ...info })
  }
  const name = path[path.indexOf('tools') + 1]
  const tool = path.includes('tools') ? get().tools.find((each) => each.name === name) : undefined
  const last = path.at(-1)
  if (last === 'path' || last === 'increment_from') {
    options.push(...paths(tool).map((label) => ({ label, type: 'variable', detail: 'argument', boost: 2 })))
    for (const key of get().checked?.keys ?? []) options.push({ label: `identity.${key}`, type: 'variable', detail: 'caller' })
  }
  if (last === 'value' && tool) options.push(...allowed(tool).map((label) => ({ label, type: 'constant', detail: 'from the tool' })))
  const unique = new Map(options.map((option) => [option.label, option]))
  return [...unique.values()]
}

/// The paths of a tool's arguments, as conditions name them.
export function paths(tool: Tool | undefined): string[] {
  const walk = (schema: ToolSchema | undefined, path: string, depth: number): string[] => {
    if (!schema || depth > 4) return []
    const own = Object.entries(schema.properties ?? {}).flatMap(([name, each]) => {
      const step = /^[A-Za-z0-9_-]+$/.test(name) ? `${path}.${name}` : `${path}["${name}"]`
      return [step, ...walk(each, step, depth + 1)]
    })
    return [...own, ...(schema.items ? [`${path}[*]`, ...walk(schema.items, `${path}[*]`, depth + 1)] : [])]
  }
  return walk(tool?.inputSchema, 'args', 0)
}

function allowed(tool: Tool): string[] {
  return Object.values(tool.inputSchema?.properties ?? {}).flatMap((schema) => (schema.enum ?? []).map(String))
}

/// The schema of the argument that a path leads to.
export function schemaAt(tool: Tool | undefined, path: string): ToolSchema | undefined {
  let schema = tool?.inputSchema
  for (const step of path.replace(/^args/, '').match(/\.[\w-]+|\[\*\]|\[\d+\]|\["[^"]*"\]/g) ?? []) {
    const name = step.startsWith('.') ? step.slice(1) : step.startsWith('["') ? step.slice(2, -2) : undefined
    schema = name === undefined ? schema?.items : schema?.properties?.[name]
  }
  return schema
}

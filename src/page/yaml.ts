// One change of a YAML document, in the style of what is around it: the few characters that say the value.

import { Document, Pair, YAMLMap, YAMLSeq, isCollection, isMap, isPair, isScalar, isSeq, visit, type Node } from 'yaml'

type Path = readonly (string | number)[]

export function narrowly(text: string, document: Document, path: Path, value: unknown): string | undefined {
  const splice = (from: number, to: number, insert: string) => text.slice(0, from) + insert + text.slice(to)
  let node: unknown = document.contents
  let depth = 0
  for (; depth < path.length; depth += 1) {
    const inner = isCollection(node) ? node.get(path[depth], true) : undefined
    if (inner === undefined) break
    node = inner
  }
  if (depth === path.length) return value === undefined ? removed(text, document, path) : replaced(text, document, path, node as Node, value)
  if (value === undefined) return text
  const key = path[depth]!
  const inner = path.slice(depth + 1).reduceRight<unknown>((held, name) => (typeof name === 'number' ? [held] : { [name]: held }), value)
  if (isScalar(node) && node.value === null) return replaced(text, document, path.slice(0, depth), node, typeof key === 'number' ? [inner] : { [key]: inner })
  if (!isCollection(node) || !node.range) return undefined
  const member = (indent: number) => (isSeq(node) ? item(inner, indent) : pair(String(key), inner, indent))
  if (node.flow || node.items.length === 0) {
    const close = node.range[1] - 1
    const piece = isSeq(node) ? flow(inner) : `${scalar(String(key))}: ${flow(inner)}`
    const before = text.slice(node.range[0] + 1, close).trimEnd()
    const end = node.range[0] + 1 + before.length
    return splice(end, close, `${before.trim() === '' ? '' : before.endsWith(',') ? ' ' : ', '}${piece}${text.slice(end, close).includes('\n') ? text.slice(end, close) : ''}`)
  }
  const indent = columnOf(text, node.range[0])
  const end = lineEnd(text, lastEnd(node))
  return splice(end, end, `\n${' '.repeat(indent)}${member(indent)}`)
}

function replaced(text: string, document: Document, path: Path, node: Node, value: unknown): string | undefined {
  const range = node.range
  if (!range) return undefined
  const parent = (path.length > 1 ? document.getIn(path.slice(0, -1), true) : document.contents) as YAMLMap | YAMLSeq
  const held = typeof value === 'object' && value !== null
  const own = path.length === 0 ? undefined : isMap(parent) ? pairOf(parent, String(path.at(-1))) : undefined
  if (!held || parent.flow || (isCollection(node) && node.flow && short(value))) {
    const from = isCollection(node) && !node.flow && own ? lineEndOfKey(text, own) : range[0]
    const piece = held ? flow(value) : scalar(value)
    const gap = /[\s[{]/.test(text[from - 1] ?? ' ') ? '' : ' '
    return text.slice(0, from) + gap + piece + text.slice(isCollection(node) && !node.flow ? trimmed(text, from, range[1]) : range[1])
  }
  if (!own) return undefined
  const indent = columnOf(text, (own.key as Node).range?.[0] ?? 0)
  const from = lineEndOfKey(text, own)
  const to = isCollection(node) && !node.flow ? trimmed(text, from, lastEnd(node)) : range[1]
  return text.slice(0, from) + below(value, indent) + text.slice(to)
}

function removed(text: string, document: Document, path: Path): string | undefined {
  const parent = (path.length > 1 ? document.getIn(path.slice(0, -1), true) : document.contents) as YAMLMap | YAMLSeq
  if (!isCollection(parent)) return undefined
  if (parent.items.length === 1 && path.length > 1) return replaced(text, document, path.slice(0, -1), parent, isSeq(parent) ? [] : {})
  const index = isMap(parent) ? parent.items.findIndex((item) => isScalar(item.key) && String(item.key.value) === String(path.at(-1))) : Number(path.at(-1))
  const member: unknown = parent.items[index]
  const start = isPair(member) ? (member.key as Node).range?.[0] : (member as Node).range?.[0]
  const last = isPair(member) ? ((member.value as Node | null) ?? (member.key as Node)) : (member as Node)
  if (start === undefined || !last.range) return undefined
  const end = isCollection(last) && !last.flow ? lastEnd(last) : last.range[1]
  if (parent.flow) {
    const after = /^\s*,\s*/.exec(text.slice(end))
    if (after) return text.slice(0, start) + text.slice(end + after[0].length)
    const before = /,\s*$/.exec(text.slice(0, start))
    return text.slice(0, before ? before.index : start) + text.slice(end)
  }
  const from = text.lastIndexOf('\n', start - 1) + 1
  return text.slice(0, from) + text.slice(Math.min(lineEnd(text, end) + 1, text.length))
}

function lastEnd(node: YAMLMap | YAMLSeq): number {
  const last: unknown = node.items.at(-1)
  const inner = isPair(last) ? ((last.value as Node | null) ?? (last.key as Node)) : (last as Node | undefined)
  if (!inner?.range) return node.range?.[1] ?? 0
  return isCollection(inner) && !inner.flow && inner.items.length > 0 ? lastEnd(inner) : inner.range[1]
}

function lineEndOfKey(text: string, own: Pair): number {
  const end = (own.key as Node).range?.[1] ?? 0
  return text.indexOf(':', end) + 1
}

function trimmed(text: string, from: number, to: number): number {
  return from + text.slice(from, to).trimEnd().length
}

function lineEnd(text: string, offset: number): number {
  const end = text.indexOf('\n', offset > 0 && text[offset - 1] === '\n' ? offset - 1 : offset)
  return end < 0 ? text.length : end
}

function columnOf(text: string, offset: number): number {
  return offset - (text.lastIndexOf('\n', offset - 1) + 1)
}

function short(value: unknown): boolean {
  return JSON.stringify(value).length <= 72
}

/// A scalar as YAML writes it.
export function scalar(value: unknown): string {
  return new Document(value).toString({ lineWidth: 0 }).trimEnd()
}

function flow(value: unknown): string {
  return written(value, true).replace(/\s*\n\s*/g, ' ')
}

/// A document in YAML; what is short stands on one line.
export function written(value: unknown, inline = false): string {
  const document = new Document(value)
  visit(document, {
    Collection: (_, node) => {
      if (inline || short((node as YAMLMap).toJSON())) node.flow = true
    },
  })
  if (!inline && isCollection(document.contents)) document.contents.flow = false
  return document.toString({ lineWidth: 0, flowCollectionPadding: false }).trimEnd()
}

function indented(text: string, indent: number): string {
  return text.split('\n').join(`\n${' '.repeat(indent)}`)
}

/// What follows a key.
export function below(value: unknown, indent: number): string {
  if (typeof value !== 'object' || value === null) return ` ${scalar(value)}`
  if (short(value)) return ` ${flow(value)}`
  return `\n${' '.repeat(indent + 2)}${indented(written(value), indent + 2)}`
}

function pair(key: string, value: unknown, indent: number): string {
  return `${scalar(key)}:${below(value, indent)}`
}

function item(value: unknown, indent: number): string {
  return `- ${short(value) ? flow(value) : indented(written(value), indent + 2)}`
}

/// Where a value ends; what is below a block by its range, such as comments, is not its own.
export function endOf(node: Node): number {
  return isCollection(node) && !node.flow && node.items.length > 0 ? lastEnd(node as YAMLMap) : (node.range?.[1] ?? 0)
}

export function pairOf(map: YAMLMap, key: string): Pair | undefined {
  return map.items.find((item) => isScalar(item.key) && String(item.key.value) === key)
}

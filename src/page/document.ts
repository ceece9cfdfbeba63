// Changes of a document that leave everything else as it was: comments, order, spaces. The text is the only truth; whoever changes
// a value changes the few characters that say it.

import { applyEdits, getLocation, modify, parse as parseJson, parseTree, findNodeAtLocation, type ParseError } from 'jsonc-parser'
import { find, note, piecesOf, readPieces, type Piece } from './pieces'
import { LineCounter, isMap, isPair, isSeq, parseDocument, type Node, type Pair, type Scalar } from 'yaml'
import { below, endOf, narrowly, pairOf, scalar, written } from './yaml'

export { written }

export type Path = readonly (string | number)[]
export type Syntax = 'json' | 'yaml'
export interface Change { from: number; to: number; insert: string }

/// As the engine tells them apart.
export function syntaxOf(text: string): Syntax {
  const first = text.trimStart()[0]
  return first === undefined || first === '{' ? 'json' : 'yaml'
}

/// What the document says, or nothing where it cannot be read.
export function valueOf(text: string): unknown {
  if (text.trim() === '') return undefined
  if (syntaxOf(text) === 'json') {
    const errors: ParseError[] = []
    const value: unknown = parseJson(text, errors, { disallowComments: true })
    return errors.length > 0 ? undefined : value
  }
  if (latest?.text !== text) latest = { text, value: readPieces(text) ?? wholeValueOf(text) }
  return latest.value
}

// The last document that was read: several ask what the same one says.
let latest: { text: string; value: unknown } | null = null

function wholeValueOf(text: string): unknown {
  const document = parseDocument(text)
  return document.errors.length > 0 ? undefined : (document.toJS() as unknown)
}

export function at(value: unknown, path: Path): unknown {
  let found = value
  for (const key of path) {
    if (typeof found !== 'object' || found === null) return undefined
    found = (found as Record<string | number, unknown>)[key]
  }
  return found
}

/// The same value with another one in it.
function withValue(value: unknown, path: Path, inner: unknown): unknown {
  const [key, ...rest] = path
  if (key === undefined) return inner
  const copy: Record<string | number, unknown> | unknown[] = Array.isArray(value)
    ? [...(value as unknown[])]
    : { ...((value ?? (typeof key === 'number' ? [] : {})) as Record<string, unknown>) }
  const held = copy as Record<string | number, unknown>
  if (rest.length === 0 && inner === undefined) {
    if (Array.isArray(copy)) copy.splice(key as number, 1)
    else delete held[key]
  } else held[key] = withValue(held[key], rest, inner)
  return copy
}

function same(left: unknown, right: unknown): boolean {
  return JSON.stringify(left) === JSON.stringify(right)
}

/// The text in which a value stands at a place; nothing as a value takes it out.
export function edited(text: string, path: Path, value: unknown): string {
  const before = valueOf(text)
  if (before === undefined && text.trim() !== '') throw new Error('the text cannot be read; mend it first')
  if (syntaxOf(text) === 'json') {
    const indent = /\n(\t| +)\S/.exec(text)?.[1] ?? '  '
    const formattingOptions = { insertSpaces: indent !== '\t', tabSize: indent.length, eol: '\n' }
    return applyEdits(text, modify(text, [...path], value, { formattingOptions }))
  }
  const changed = editedPiece(text, path, value) ?? narrow(text, path, value)
  if (changed !== undefined) return changed
  const document = parseDocument(text)
  // A shape that is not known here: the document is written anew, with its comments.
  if (value === undefined) document.deleteIn(path)
  else document.setIn(path, document.createNode(value))
  return document.toString({ lineWidth: 0, flowCollectionPadding: false })
}

/// The text with only the characters changed that say the value, if that is enough.
function narrow(text: string, path: Path, value: unknown): string | undefined {
  const document = parseDocument(text)
  const changed = narrowly(text, document, path, value)
  const expected = withValue(document.toJS(), path, value)
  return changed !== undefined && same(wholeValueOf(changed), expected) ? changed : undefined
}

/// The same in one piece of a large document.
function editedPiece(text: string, path: Path, value: unknown): string | undefined {
  const pieces = path.length > 0 && readPieces(text) ? piecesOf(text) : null
  if (!pieces) return undefined
  const { level, depth, index } = find(pieces, path)
  const isLast = depth === path.length - 1
  let [first, last] = [index, index]
  if (index < 0) {
    // A new key stands behind the last one of its level.
    if (value === undefined) return text
    first = last = level.length - 1
  } else if (isLast && value === undefined) {
    if (level.length === 1) return undefined
    if (index > 0) first -= 1
    else last += 1
  }
  if (level.slice(first, last + 1).some(({ inner }) => inner)) return undefined
  const [from, to] = [level[first]!.from, level[last]!.to]
  const changed = narrow(text.slice(from, to), path.slice(depth), value)
  return changed === undefined ? undefined : text.slice(0, from) + changed + text.slice(to)
}

/// The text in which a mapping says something else: member by member, so that comments in it stay with what stays.
export function membersEdited(text: string, path: Path, value: unknown): string {
  const before = at(valueOf(text), path)
  const [old, next] = [before, value].map((each) => (typeof each === 'object' && each !== null && !Array.isArray(each) ? (each as Record<string, unknown>) : null))
  if (!old || !next || Object.keys(old).length === 0 || !Object.keys(old).some((key) => key in next)) return edited(text, path, value)
  const keys = new Set([...Object.keys(next), ...Object.keys(old)])
  return [...keys].filter((key) => !same(old[key], next[key])).reduce((held, key) => edited(held, [...path, key], next[key]), text)
}

/// The text in which many members of one mapping are set, as `edited` would, one after the other.
export function editedAll(text: string, path: Path, values: ReadonlyMap<string, unknown>): string {
  const before = valueOf(text)
  if (before === undefined && text.trim() !== '') throw new Error('the text cannot be read; mend it first')
  const held = at(before, path)
  if (values.size > 40 && syntaxOf(text) === 'json') return edited(text, path, { ...(held as Record<string, unknown> | undefined), ...Object.fromEntries(values) })
  const rest = [...values]
  let changed = text
  // An empty mapping has no lines to stand between: it gets some first.
  if (rest.length > 40 && Object.keys((held ?? {}) as object).length === 0) changed = edited(text, path, Object.fromEntries(rest.splice(0, 8)))
  const pieces = rest.length > 40 ? piecesOf(changed, true) : null
  const level = pieces && find(pieces, [...path, ''])
  if (level?.depth !== path.length || level.level.some(({ inner }) => inner)) return rest.reduce((held, [key, value]) => membersEdited(held, [...path, key], value), changed)
  return withMembers(changed, level.level, new Map(rest))
}

function withMembers(text: string, level: readonly Piece[], values: Map<string, unknown>): string {
  const from = level[0]!.from
  const indent = text.slice(from).search(/[^ ]/)
  const written = new Map<string, string>()
  const line = (key: string, value: unknown): string => {
    const said = JSON.stringify(value)
    const own = written.get(said) ?? below(value, indent)
    written.set(said, own)
    const made = `${' '.repeat(indent)}${scalar(key)}:${own}\n`
    note(made, value)
    return made
  }
  const parts: string[] = [text.slice(0, from)]
  for (const piece of level) {
    const own = text.slice(piece.from, piece.to)
    const value = values.get(piece.key)
    parts.push(value === undefined ? own : membersEdited(own, [piece.key], value))
    values.delete(piece.key)
  }
  if (values.size > 0) {
    const end = level.at(-1)!.to
    // Before comments and blank lines at the end, which are about what follows.
    const last = parts.pop()!
    const trailing = /(?:\n[ \t]*(?:#.*)?)*$/.exec(last)?.[0] ?? ''
    const rest = trailing.replace(/^\n/, '')
    parts.push(`${last.slice(0, last.length - trailing.length)}\n`, ...[...values].map(([key, value]) => line(key, value)), rest)
    parts.push(text.slice(end))
  } else parts.push(text.slice(level.at(-1)!.to))
  return parts.join('')
}

/// The text with another key in the place of one.
export function renamed(text: string, path: Path, name: string): string {
  const key = path.at(-1)
  if (syntaxOf(text) === 'json') {
    const tree = parseTree(text)
    const node = tree && findNodeAtLocation(tree, [...path])?.parent?.children?.[0]
    return node ? text.slice(0, node.offset) + JSON.stringify(name) + text.slice(node.offset + node.length) : text
  }
  const part = partOf(text, path)
  if (part) return text.slice(0, part.from) + renamed(part.text, part.path, name) + text.slice(part.from + part.text.length)
  const map = parseDocument(text).getIn(path.slice(0, -1), true)
  const pair = isMap(map) ? pairOf(map, String(key)) : undefined
  const range = pair && (pair.key as Node).range
  return range ? text.slice(0, range[0]) + scalar(name) + text.slice(range[1]) : text
}

/// The smallest change that makes one text of another.
export function difference(before: string, after: string): Change {
  let from = 0
  const most = Math.min(before.length, after.length)
  while (from < most && before[from] === after[from]) from += 1
  let end = 0
  while (end < most - from && before[before.length - 1 - end] === after[after.length - 1 - end]) end += 1
  return { from, to: before.length - end, insert: after.slice(from, after.length - end) }
}

/// The path of what stands at a place of the text.
export function pathAt(text: string, offset: number): Path {
  if (syntaxOf(text) === 'json') return getLocation(text, offset + 1).path
  const part = partAt(text, offset)
  if (part) return [...part.before, ...pathAt(part.text, offset - part.from)]
  const found: (string | number)[] = []
  let node: unknown = parseDocument(text).contents
  for (;;) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isPair(item) && covers(item, offset)) as Pair | undefined
      if (!pair) return found
      found.push(String((pair.key as Scalar).value))
      node = pair.value
    } else if (isSeq(node)) {
      const index = node.items.findIndex((item) => inRange(item as Node, offset))
      if (index < 0) return found
      found.push(index)
      node = node.items[index]
    } else return found
  }
}

/// Where a value is, with its key.
export function rangeOf(text: string, path: Path): [number, number] | undefined {
  if (syntaxOf(text) === 'json') {
    const tree = parseTree(text)
    const node = tree && findNodeAtLocation(tree, [...path])
    const shown = node?.parent?.type === 'property' ? node.parent : node
    return shown && [shown.offset, shown.offset + shown.length]
  }
  const part = partOf(text, path)
  if (part) {
    const range = rangeOf(part.text, part.path)
    return range && [range[0] + part.from, range[1] + part.from]
  }
  const document = parseDocument(text)
  const parent = path.length > 1 ? document.getIn(path.slice(0, -1), true) : document.contents
  const key = path.at(-1)
  if (isMap(parent)) {
    const pair = pairOf(parent, String(key))
    const range = pair && (pair.key as Node).range
    const value = pair?.value as Node | null | undefined
    return range ? [range[0], value ? endOf(value) : range[1]] : undefined
  }
  const member = document.getIn(path, true) as Node | undefined
  return member?.range ? [member.range[0], endOf(member)] : undefined
}

interface Part { text: string; from: number; before: Path; path: Path }

/// The piece of a large document that holds a path.
function partOf(text: string, path: Path): Part | undefined {
  const pieces = path.length > 0 ? piecesOf(text) : null
  if (!pieces) return undefined
  const { level, depth, index } = find(pieces, path)
  const piece = level[index]
  // A piece that is itself the whole document is read as it is.
  if (!piece || piece.inner || (piece.from === 0 && piece.to === text.length)) return undefined
  return { text: text.slice(piece.from, piece.to), from: piece.from, before: path.slice(0, depth), path: path.slice(depth) }
}

function partAt(text: string, offset: number): Part | undefined {
  let level = piecesOf(text)
  const before: string[] = []
  while (level) {
    const piece: Piece | undefined = level.find(({ from, to }) => offset >= from && offset < to)
    if (!piece || (piece.from === 0 && piece.to === text.length)) return undefined
    if (!piece.inner) return { text: text.slice(piece.from, piece.to), from: piece.from, before, path: [] }
    const first = piece.inner[0]!.from
    if (offset < first) return undefined
    before.push(piece.key)
    level = piece.inner
  }
  return undefined
}

/// Line and column of a place, from 1.
export function lineAt(text: string, offset: number): number {
  const counter = new LineCounter()
  for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', end + 1)) counter.addNewLine(end + 1)
  counter.lineStarts.unshift(0)
  return counter.linePos(offset).line
}

function inRange(node: Node | null, offset: number): boolean {
  return !!node?.range && offset >= node.range[0] && offset <= endOf(node)
}

function covers(pair: Pair, offset: number): boolean {
  const start = (pair.key as Node).range?.[0] ?? 0
  const end = endOf((pair.value as Node | null) ?? (pair.key as Node))
  return offset >= start && offset <= end
}

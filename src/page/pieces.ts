// A large YAML document, piece by piece. To read thousands of lines takes longer than a hand rests between two keys; to read the one
// entry that has changed does not.
//
// A piece is a key with its value: a run of whole lines. Only what is plain to see is taken apart, mappings in block style: that of the
// document, and those below `tools`, `policies` and each of the policies. What is written otherwise is read whole, as before.

import { isMap, parseDocument } from 'yaml'

export interface Piece {
  key: string
  from: number
  /// Where the next piece begins. Comments below a piece are part of it.
  to: number
  /// What is below it, where that is taken apart too.
  inner: Piece[] | null
}

const KEY = /^(?:"([^"\\]*)"|'([^']*)'|([A-Za-z0-9_$][\w.$/+-]*)):(?:[ \r\n]|$)/

/// Shorter texts are read whole, which is no slower. The tests set it to 0.
export const pieced = { from: 16_000 }

let known: { text: string; pieces: Piece[] | null } = { text: '', pieces: null }

/// The pieces of a document, or nothing where it is not taken apart.
export function piecesOf(text: string, always = false): Piece[] | null {
  if (text.length < pieced.from && !always) return null
  if (known.text !== text) known = { text, pieces: split(text, 0, text.length, (key) => key === 'tools' ? () => null : key === 'policies' ? () => tools : null) }
  return known.pieces
}

/// Which keys of a level are taken apart, and how those below them.
type Level = (key: string) => Level | null
const tools: Level = (key) => (key === 'tools' ? () => null : null)

function split(text: string, from: number, to: number, level: Level): Piece[] | null {
  const found: Piece[] = []
  const keys = new Set<string>()
  let indent = -1
  for (let at = from, next = from; at < to; at = next) {
    const newline = text.indexOf('\n', at)
    next = newline < 0 || newline >= to ? to : newline + 1
    let first = at
    while (text[first] === ' ') first += 1
    if (first >= next || '#\r\n'.includes(text[first]!)) continue
    if (indent < 0) indent = first - at
    if (first - at > indent) continue
    const key = KEY.exec(text.slice(first, Math.min(next, first + 300)))
    const name = key?.[1] ?? key?.[2] ?? key?.[3]
    if (first - at < indent || name === undefined || keys.has(name)) return null
    keys.add(name)
    const last = found.at(-1)
    if (last) last.to = at
    found.push({ key: name, from: at, to, inner: null })
  }
  for (const piece of found) {
    const below = level(piece.key)
    const end = lineAfter(text, piece.from, piece.to)
    if (below && /:\s*(?:#.*)?$/.test(text.slice(piece.from, end).trimEnd())) piece.inner = split(text, end, piece.to, below)
    if (piece.inner?.length === 0) piece.inner = null
  }
  return found.length > 0 ? found : null
}

function lineAfter(text: string, from: number, to: number): number {
  const newline = text.indexOf('\n', from)
  return newline < 0 || newline >= to ? to : newline + 1
}

// What was read of pieces, by their text: of the document before this one, and of this one.
let older = new Map<string, unknown>()
let newer = new Map<string, unknown>()

/// Notes what a piece says, where that is known without reading it.
export function note(text: string, value: unknown): void {
  newer.set(text, value)
}

class NotPlain extends Error {}

/// What the document says; `NotPlain` where pieces cannot be read by themselves, such as one with an anchor of another.
function read(text: string, pieces: Piece[]): Record<string, unknown> {
  return Object.fromEntries(pieces.map((piece): [string, unknown] => {
    if (piece.inner) return [piece.key, read(text, piece.inner)]
    const own = text.slice(piece.from, piece.to)
    let value = newer.get(own)
    if (value === undefined) {
      value = older.get(own) ?? readPiece(own, piece.key)
      newer.set(own, value)
    }
    return [piece.key, value]
  }))
}

function readPiece(text: string, key: string): unknown {
  const document = parseDocument(text)
  if (document.errors.length > 0 || !isMap(document.contents) || document.contents.items.length !== 1) throw new NotPlain()
  return (document.toJS() as Record<string, unknown>)[key] ?? null
}

/// What a document says, in pieces; nothing where it has to be read whole.
export function readPieces(text: string): Record<string, unknown> | null {
  const pieces = piecesOf(text)
  if (!pieces) return null
  try {
    const value = read(text, pieces)
    older = newer
    newer = new Map()
    return value
  } catch (error) {
    if (error instanceof NotPlain) return null
    throw error
  }
}

export interface Found {
  /// The pieces of the level on which the search ended.
  level: Piece[]
  /// How many steps of the path lead to that level.
  depth: number
  /// The piece, where there is one.
  index: number
}

/// The innermost piece that a path leads to.
export function find(pieces: Piece[], path: readonly (string | number)[]): Found {
  let level = pieces
  for (let depth = 0; ; depth += 1) {
    const index = level.findIndex((piece) => piece.key === path[depth])
    const inner = level[index]?.inner
    if (!inner || depth + 1 >= path.length) return { level, depth, index }
    level = inner
  }
}

// What the page knows. Everything that is shown is a picture of this; everything that is done changes it, through the functions at the end.

import { useEffect, useState } from 'preact/hooks'
import { type Change, type Path, type Syntax, difference, edited, renamed, syntaxOf, valueOf } from './document'
import { Engine, type Checked, type Judged, type Step, type Tested, type Tried } from './engine'

/// A tool as its server describes it.
export interface Tool {
  name: string
  title?: string
  description?: string
  inputSchema?: Schema
  annotations?: Record<string, unknown>
}

export interface Schema {
  type?: string | string[]
  properties?: Record<string, Schema>
  required?: string[]
  enum?: unknown[]
  items?: Schema
  description?: string
  default?: unknown
  minimum?: number
  maximum?: number
  format?: string
  examples?: unknown[]
}

export interface Call {
  tool: string
  args: string
  /// A whole JSON-RPC message in place of a tool and its arguments.
  message: string
  caller: string
  identity: string
  headers: string
  session: string
  host: string
  path: string
  at: string
  repeat: string
  response: '' | 'error'
  approval: string
  policy: string
}

export interface State {
  engine: Engine | null
  failed: string
  text: string
  value: unknown
  name: string
  checked: Checked | null
  tools: Tool[]
  judged: Map<string, Judged>
  /// What is worth saying of all tools together.
  remarks: string[]
  call: Call
  tried: Tried | null
  trouble: string
  /// The calls that were counted since the counters were empty.
  history: { call: string; decision: string; reason: string; calls: number }[]
  seen: Set<string> | null
  seenText: string
  tests: string
  tested: Tested | null
  old: string
  log: string
  /// Whether the second engine has started.
  second: boolean
  view: 'form' | 'text'
  part: 'tools' | 'policy' | 'try' | 'more'
  below: 'tests' | 'attacks' | 'compare' | 'deploy'
  said: string
  /// Milliseconds that the last check and decision took.
  took: number
  /// Whether the page was served with a file to save to.
  file: string
  saved: string
}

export const NO_CALL: Call = {
  tool: '', args: '{}', message: '', caller: 'alice', identity: '', headers: '', session: '', host: '', path: '', at: '', repeat: '1', response: '', approval: '', policy: '',
}

let state: State = {
  engine: null, failed: '', text: '', value: undefined, name: 'policy.yaml', checked: null, tools: [], judged: new Map(), remarks: [], call: NO_CALL, tried: null,
  trouble: '', history: [], seen: null, seenText: '', tests: '', tested: null, old: '', log: '', second: false, view: 'form', part: 'policy', below: 'tests', said: '', took: 0, file: '', saved: '',
}
const listeners = new Set<() => void>()

export function get(): State {
  return state
}

export function set(patch: Partial<State>): void {
  state = { ...state, ...patch }
  for (const listener of listeners) listener()
}

export function listen(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

/// A part of the state, for a component that is drawn anew when it changes.
export function use<T>(select: (state: State) => T): T {
  const [, draw] = useState({})
  const value = select(state)
  useEffect(() => {
    let last = select(state)
    return listen(() => {
      const next = select(state)
      if (!Object.is(next, last)) {
        last = next
        draw({})
      }
    })
  }, [])
  return value
}

/// Says something to who cannot see it happen.
export function say(text: string): void {
  set({ said: text })
}

/// Takes a new text for the policy, and asks the engine what it makes of it.
export function setText(text: string): void {
  if (text === state.text) return
  set({ text, value: valueOf(text) ?? (text.trim() === '' ? undefined : state.value), history: [] })
  clearTimeout(checking)
  // What a person has done to a large policy is drawn first, and judged when the hand rests.
  if (text.length < 50_000) check()
  else checking = window.setTimeout(check, Math.min(300, Math.max(30, state.took)))
}

let checking = 0

/// The changes that the editor has not made yet.
export const changes = new Set<(change: Change) => void>()

/// Who holds text that was typed and not looked at yet.
export const settles = new Set<() => void>()

/// The text as it is now, with all that was typed.
export function settled(): string {
  for (const settle of settles) settle()
  return state.text
}

/// Changes the policy as a form does: one value, and no other character than it needs.
export function edit(path: Path, value: unknown): void {
  settled()
  put(edited(state.text, path, value))
}

export function rename(path: Path, name: string): void {
  settled()
  put(renamed(state.text, path, name))
}

export function put(text: string): void {
  const change = difference(state.text, text)
  setText(text)
  for (const changed of changes) changed(change)
}

export function check(): void {
  const { engine, text, name, tools, call } = state
  if (!engine) return
  const start = performance.now()
  if (text.trim() === '') {
    set({ checked: null, tried: null, seen: null, tested: null })
    return
  }
  const list = tools.length > 0 && tools.length <= 1000 ? JSON.stringify(tools) : ''
  set({ checked: engine.check(withEnding(name, text), text, list, call.policy) })
  attempt(true)
  set({ took: performance.now() - start })
  lookSoon()
}

let looking = 0

/// What the caller sees of many tools can wait until nothing else is to be done.
function lookSoon(): void {
  clearTimeout(looking)
  if (state.tools.length <= 200) look()
  else looking = window.setTimeout(look, 250)
}

/// The name of the file, with the ending that its text has.
export function withEnding(name: string, text: string): string {
  return `${name.replace(/\.(json|ya?ml)$/i, '')}.${syntaxOf(text) satisfies Syntax}`
}

/// The call as a step of a policy test.
export function stepOf(call: Call): Step {
  const step: Step = {}
  if (call.message.trim() !== '') step.call = call.message
  else step.call = { tool: call.tool, ...(call.args.trim() === '' ? {} : { arguments: JSON.parse(call.args) as unknown }) }
  for (const key of ['caller', 'session', 'host', 'path', 'at'] as const) if (call[key].trim() !== '') step[key] = call[key].trim()
  const identity = pairs(call.identity, true)
  if (Object.keys(identity).length > 0) step.identity = identity
  const headers = pairs(call.headers, false)
  if (Object.keys(headers).length > 0) step.headers = headers as Record<string, string>
  const repeat = Number(call.repeat)
  if (repeat > 1) step.repeat = Math.min(repeat, 100_000)
  if (call.response !== '') step.response = call.response
  if (call.approval !== '') step.approval = call.approval
  return step
}

/// Lines of `key: value`.
function pairs(text: string, typed: boolean): Record<string, unknown> {
  const found: Record<string, unknown> = {}
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':')
    if (colon < 1) continue
    const value = line.slice(colon + 1).trim()
    found[line.slice(0, colon).trim()] = typed ? guess(value) : value
  }
  return found
}

function guess(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return text
  }
}

/// Tries the call. Afresh, nothing has been counted and nothing is; else it counts, as the next call of an agent would.
export function attempt(fresh: boolean): void {
  const { engine, checked, call } = state
  if (!engine || !checked?.valid || (call.tool === '' && call.message.trim() === '')) {
    set({ tried: null, trouble: '' })
    return
  }
  try {
    const tried = engine.try(stepOf(call), fresh)
    const history = fresh
      ? state.history
      : [...state.history, ...tried.runs.map((run) => ({ call: tried.answer.call, decision: run.decision, reason: run.reason ?? '', calls: run.calls }))]
    set({ tried, trouble: '', history })
  } catch (error) {
    const text = error instanceof SyntaxError ? 'the arguments are not JSON' : (error as Error).message
    set({ tried: null, trouble: text })
  }
}

export function setCall(patch: Partial<Call>): void {
  set({ call: { ...state.call, ...patch } })
  if (patch.policy !== undefined) check()
  else attempt(state.history.length === 0)
  if ('caller' in patch || 'identity' in patch || 'headers' in patch || 'path' in patch || 'host' in patch) look()
}

export function reset(): void {
  state.engine?.reset()
  set({ history: [] })
  attempt(true)
}

/// Asks for the list of tools, as this caller.
export function look(): void {
  const { engine, checked, tools, call } = state
  if (!engine || !checked?.valid || tools.length === 0) {
    set({ seen: null, seenText: '' })
    return
  }
  try {
    const { call: _, repeat: __, response: ___, approval: ____, ...step } = stepOf({ ...call, args: '{}' })
    const text = engine.list(step, JSON.stringify({ jsonrpc: '2.0', id: 1, result: { tools } }))
    const read = text === null ? {} : (JSON.parse(text) as { result?: { tools?: Tool[] } })
    const names = (read.result?.tools ?? []).map((tool) => tool.name)
    set({ seen: new Set(names), seenText: text ?? '' })
  } catch {
    set({ seen: null, seenText: '' })
  }
}

/// Takes a server's tools, from any text that has them.
export function setTools(text: string): void {
  const { engine } = state
  if (!engine) return
  const judged = engine.judge(text)
  const tools = collected(JSON.parse(text) as unknown)
  const first = tools[0]
  set({ tools, judged: new Map(judged.tools.map((each) => [each.tool, each])), remarks: judged.remarks })
  if (first && !tools.some((tool) => tool.name === state.call.tool)) set({ call: { ...state.call, tool: first.name, args: example(first) } })
  check()
  say(`${tools.length} tools`)
}

function collected(value: unknown): Tool[] {
  if (Array.isArray(value)) return value.flatMap(collected)
  if (typeof value !== 'object' || value === null) return []
  const held = value as { result?: unknown; tools?: unknown; name?: unknown }
  const inner = held.result ?? held.tools
  if (inner !== undefined) return collected(inner)
  return typeof held.name === 'string' ? [value as Tool] : []
}

/// Arguments that a tool might be called with.
export function example(tool: Tool | undefined): string {
  const schema = tool?.inputSchema
  const made: Record<string, unknown> = {}
  for (const [name, each] of Object.entries(schema?.properties ?? {})) {
    if (schema?.required?.includes(name)) made[name] = exampleOf(each)
  }
  return JSON.stringify(made)
}

function exampleOf(schema: Schema): unknown {
  if (schema.default !== undefined) return schema.default
  if (schema.examples?.length) return schema.examples[0]
  if (schema.enum?.length) return schema.enum[0]
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type
  switch (type) {
    case 'integer':
    case 'number': return schema.minimum ?? 1
    case 'boolean': return false
    case 'array': return []
    case 'object': return {}
    default: return 'text'
  }
}

/// Runs the tests.
export function runTests(): void {
  const { engine, checked, tests, name, text } = state
  if (!engine || !checked?.valid || tests.trim() === '') {
    set({ tested: null })
    return
  }
  const beside = withEnding(name, text).replace(/\.\w+$/, `.test.${syntaxOf(tests)}`)
  const tested = engine.test(beside, tests)
  set({ tested })
  const failed = tested.answer?.tests.filter((test) => !test.passed).length
  say(tested.answer ? `${tested.answer.tests.length} tests, ${failed} failed` : 'the tests cannot be read')
}

// What a change of the policy changes: every call of the tests, one of each tool, and the calls of a log, through both.

import { valueOf } from './document'
import { Trouble, type Engine, type Step } from './engine'
import { list, record } from './policy'
import { second } from './second'
import { example, get, withEnding } from './store'

export interface Difference { call: string; by: string; old: string; new: string; reason: string; times: number }

export interface Comparison {
  calls: number
  /// Calls that there was no time for.
  left: number
  /// Lines of the log that hold no call.
  unread: number
  rows: Difference[]
}

interface Tried { step: Step; counts: boolean; recorded?: string }
interface Outcome { call: string; decision: string; reason: string; rule: string }

/// As long as a person waits for it.
const MOST_MS = 1500

const SCENE = ['caller', 'identity', 'headers', 'session', 'host', 'path', 'route', 'at'] as const

/// The calls of policy tests, each with its scene.
function fromTests(text: string): Tried[] {
  const document = record(valueOf(text))
  const scene = (outer: Record<string, unknown>, inner: Record<string, unknown>) => ({ ...Object.fromEntries(SCENE.filter((key) => key in outer).map((key) => [key, outer[key]])), ...inner })
  return list(document['tests']).map(record).flatMap((test) => {
    const steps = 'steps' in test ? list(test['steps']).map(record) : [test]
    return steps.map((step) => {
      const { call, ...rest } = scene(document, scene(test, step))
      return { counts: false, step: { ...Object.fromEntries(SCENE.filter((key) => key in rest).map((key) => [key, (rest as Record<string, unknown>)[key]])), call } as Step }
    })
  }).filter(({ step }) => step.call !== undefined)
}

/// The calls of a log, one a line: audit lines, an access log, or lines that somebody wrote, as `mcp-policy replay` reads them.
function fromLog(text: string): { tried: Tried[]; unread: number } {
  let unread = 0
  const tried = text.split('\n').filter((line) => line.trim() !== '').flatMap((line): Tried[] => {
    let read: Record<string, unknown>
    try {
      read = record(JSON.parse(line) as unknown)
    } catch {
      unread += 1
      return []
    }
    const said = (key: string) => read[key] ?? read[`mcp_${key}`]
    const call = 'jsonrpc' in read ? line : read['request'] !== undefined ? JSON.stringify(read['request']) : undefined
    const tool = said('tool')
    if (call === undefined && (typeof tool !== 'string' || (said('method') ?? 'tools/call') !== 'tools/call')) {
      unread += 1
      return []
    }
    const time = said('time')
    const at = typeof time === 'number' ? new Date(time).toISOString() : time
    const scene = { at, caller: said('grant'), session: said('session'), host: said('host'), path: said('path'), route: said('route'), identity: said('identity'), headers: said('headers') }
    const step = { ...Object.fromEntries(Object.entries(scene).filter(([, value]) => value !== undefined && value !== null)), call: call ?? { tool, arguments: read['arguments'] ?? {} } } as Step
    const recorded = said('decision')
    return [{ step, counts: true, ...(typeof recorded === 'string' ? { recorded } : {}) }]
  })
  return { tried, unread }
}

function outcomes(engine: Engine, tried: readonly Tried[]): (Outcome | null)[] {
  engine.reset()
  const end = performance.now() + MOST_MS
  const found: (Outcome | null)[] = []
  for (const { step, counts } of tried) {
    if (performance.now() > end) break
    try {
      const { call, decision, reason = '', rule = '' } = engine.try(step, !counts).answer
      found.push({ call, decision, reason, rule })
    } catch (error) {
      if (!(error instanceof Trouble)) throw error
      found.push(null)
    }
  }
  return found
}

/// Compares with an old policy; without one, with what the log says was decided.
export function compared(old: string, log: string): Comparison | string {
  const { text, name, tests, tools, call, checked } = get()
  const engine = second()
  if (!checked?.valid) return 'the policy has to be valid first'
  if (!engine) return 'the engine is starting'
  const recorded = fromLog(log)
  const caller = call.caller === '' ? {} : { caller: call.caller }
  const own: Tried[] = old.trim() === '' ? [] : [...fromTests(tests), ...tools.map((tool) => ({ counts: false, step: { ...caller, call: { tool: tool.name, arguments: JSON.parse(example(tool)) as unknown } } }))]
  const tried: Tried[] = [...recorded.tried.filter((each) => old.trim() !== '' || each.recorded !== undefined), ...own]
  let before: (Outcome | null)[] = tried.map(({ recorded: decision = '', step }) => ({ call: String(record(step.call)['tool'] ?? ''), decision, reason: '', rule: '' }))
  if (old.trim() !== '') {
    const found = engine.check(withEnding(name, old), old, '', call.policy)
    if (!found.valid) return `the old policy is not valid: ${found.problems[0]?.message ?? ''}`
    before = outcomes(engine, tried)
  }
  engine.check(withEnding(name, text), text, '', call.policy)
  const after = outcomes(engine, tried.slice(0, before.length))
  const rows = new Map<string, Difference>()
  after.forEach((now, at) => {
    const then = before[at]
    if (!now || !then) return
    // A log tells only the decision; another rule may say the same by now.
    const isSame = then.decision === now.decision && (old.trim() === '' || (then.reason === now.reason && then.rule === now.rule))
    if (isSame) return
    const row = { call: now.call, by: String(tried[at]?.step.caller ?? ''), old: then.decision, new: now.decision, reason: now.reason, times: 1 }
    const key = JSON.stringify(row)
    const known = rows.get(key)
    if (known) known.times += 1
    else rows.set(key, row)
  })
  return { calls: after.length, left: tried.length - after.length, unread: recorded.unread, rows: [...rows.values()] }
}

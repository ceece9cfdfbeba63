// What a change of the policy changes: every call of the tests, one of each tool, and the calls of a log, through both.

import { valueOf } from './document'
import { checking, secondEngine, Trouble, type Checked, type Question, type Step, type Tried } from './engine'
import { list, record } from './policy'
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

interface Sent { step: Step; counts: boolean; recorded?: string }
interface Outcome { call: string; decision: string; reason: string; rule: string }

/// As long as a person waits for it.
const MOST_MS = 1500

const SCENE = ['caller', 'identity', 'headers', 'session', 'host', 'path', 'route', 'at'] as const

/// The calls of policy tests, each with its scene.
function fromTests(text: string): Sent[] {
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
function fromLog(text: string): { tried: Sent[]; unread: number } {
  let unread = 0
  const tried = text.split('\n').filter((line) => line.trim() !== '').flatMap((line): Sent[] => {
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

/// What becomes of calls under a policy; of as many as there is time for.
async function outcomes(name: string, text: string, tried: readonly Sent[]): Promise<(Outcome | null)[] | string> {
  const questions = tried.map(({ step, counts }): Question => ({ do: 'try', step, on: counts ? 'counters' : 'nothing' }))
  const [first, ...answers] = await secondEngine().all([checking(withEnding(name, text), text, '', get().call.policy), ...questions], MOST_MS)
  if (first === undefined || first instanceof Trouble) return first?.message ?? ''
  const { valid, problems } = first['answer'] as Checked
  if (!valid) return problems[0]?.message ?? ''
  return answers.map((answer) => {
    if (answer instanceof Trouble) return null
    const { call, decision, reason = '', rule = '' } = (answer as unknown as Tried).answer
    return { call, decision, reason, rule }
  })
}

/// Compares with an old policy; without one, with what the log says was decided.
export async function compared(old: string, log: string): Promise<Comparison | string> {
  const { text, name, tests, tools, call, checked } = get()
  if (!checked?.valid) return 'the policy has to be valid first'
  const recorded = fromLog(log)
  const caller = call.caller === '' ? {} : { caller: call.caller }
  const own: Sent[] = old.trim() === '' ? [] : [...fromTests(tests), ...tools.map((tool) => ({ counts: false, step: { ...caller, call: { tool: tool.name, arguments: JSON.parse(example(tool)) as unknown } } }))]
  const tried: Sent[] = [...recorded.tried.filter((each) => old.trim() !== '' || each.recorded !== undefined), ...own]
  let before: (Outcome | null)[] = tried.map(({ recorded: decision = '', step }) => ({ call: String(record(step.call)['tool'] ?? ''), decision, reason: '', rule: '' }))
  if (old.trim() !== '') {
    const found = await outcomes(name, old, tried)
    if (typeof found === 'string') return `the old policy is not valid: ${found}`
    before = found
  }
  const after = await outcomes(name, text, tried.slice(0, before.length))
  if (typeof after === 'string') return after
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

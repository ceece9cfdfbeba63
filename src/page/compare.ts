// What a change of the policy changes: every call of the tests, and one of each tool, through both.

import { valueOf } from './document'
import { Engine, Trouble, type Step } from './engine'
import { list, record } from './policy'
import { example, get, withEnding } from './store'

export interface Comparison {
  calls: number
  rows: { call: string; by: string; old: string; new: string; reason: string }[]
}

let other: Promise<Engine> | null = null
let ready: Engine | null = null

/// A second engine, for the old policy.
export function prepare(bytes: BufferSource): void {
  other ??= Engine.start(bytes)
  void other.then((engine) => { ready = engine })
}

const SCENE = ['caller', 'identity', 'headers', 'session', 'host', 'path', 'route', 'at'] as const

/// The calls of policy tests, each with its scene.
function fromTests(text: string): Step[] {
  const document = record(valueOf(text))
  const scene = (outer: Record<string, unknown>, inner: Record<string, unknown>) => ({ ...Object.fromEntries(SCENE.filter((key) => key in outer).map((key) => [key, outer[key]])), ...inner })
  return list(document['tests']).map(record).flatMap((test) => {
    const steps = 'steps' in test ? list(test['steps']).map(record) : [test]
    return steps.map((step) => {
      const { call, ...rest } = scene(document, scene(test, step))
      return { ...Object.fromEntries(SCENE.filter((key) => key in rest).map((key) => [key, (rest as Record<string, unknown>)[key]])), call } as Step
    })
  }).filter((step) => step.call !== undefined)
}

export function compared(old: string): Comparison | string {
  const { engine, text, name, tests, tools, call, checked } = get()
  if (!engine || !checked?.valid) return 'the policy has to be valid first'
  if (!ready) return 'the engine for the old policy is starting'
  const found = ready.check(withEnding(name, old), old, '', call.policy)
  if (!found.valid) return `the old policy is not valid: ${found.problems[0]?.message ?? ''}`
  const caller = call.caller === '' ? {} : { caller: call.caller }
  const steps = [...fromTests(tests), ...tools.slice(0, 2000).map((tool) => ({ ...caller, call: { tool: tool.name, arguments: JSON.parse(example(tool)) as unknown } }))]
  const rows: Comparison['rows'] = []
  let calls = 0
  for (const step of steps) {
    try {
      const [before, after] = [ready.try(step, true).answer, engine.try(step, true).answer]
      calls += 1
      if (before.decision !== after.decision || before.reason !== after.reason || before.rule !== after.rule) {
        rows.push({ call: after.call, by: String(step.caller ?? ''), old: before.decision, new: after.decision, reason: after.reason ?? '' })
      }
    } catch (error) {
      if (!(error instanceof Trouble)) throw error
    }
  }
  return text === old ? { calls, rows: [] } : { calls, rows }
}

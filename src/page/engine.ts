// The engine: the library of mcp-policy, compiled to WebAssembly. A question goes in as JSON, an answer comes out.

import script from 'worker'
import type { FromWorker, ToWorker } from './worker'

export interface Finding {
  code: string
  severity: 'error' | 'warning'
  place: string
  line: number | null
  column: number | null
  message: string
  help: string | null
  at?: [number, number]
  earlier?: [number, number]
}

export interface Checked {
  valid: boolean
  problems: Finding[]
  policies: string[]
  keys: string[]
  headers: string[]
  counters: string[]
  bound: boolean
}

export interface TracedCondition {
  path: string
  op: string
  value: string
  found: string[]
  outcome: 'true' | 'false' | 'undecidable'
  expected?: string
}

export interface TracedCount {
  counter: string
  scope: string
  used: string | null
  amount: string | null
  problem?: string
  max: string | null
  burst?: string
  window_seconds: number
  retry_after_ms?: number
}

export interface TracedRule {
  rule: string
  line?: number
  entry?: string
  kind: string
  denies: boolean
  shadow?: boolean
  asks?: boolean
  reason?: string
  conditions?: TracedCondition[]
  count?: TracedCount
}

export interface Explanation {
  policy: string
  governed_by?: string
  at: string
  decision: string
  reason?: string
  rule?: string
  status?: number
  code?: number
  message?: string
  asks?: string
  approval_by?: string[]
  line?: number
  call: string
  rules: TracedRule[]
}

export interface Run {
  decision: string
  reason?: string
  calls: number
}

export interface Tried {
  answer: Explanation
  marks: Record<string, [number, number]>
  runs: Run[]
}

/// What a tool was taken for, as `scan --format json` says it.
export interface Judged {
  tool: string
  class: string
  severity: string
  confidence: string
  marks: string[]
  flags: { argument: string; flag: string; evidence: string }[]
  evidence: string[]
  mark_evidence: Record<string, string>
  description: string
  proposal?: { class: string; evidence: string[] }
}

export interface TestReport {
  name: string
  line: number | null
  passed: boolean
  failures: { line: number | null; repetition?: number; expected: string; found: string }[]
}

export interface Tested {
  answer: {
    tests: TestReport[]
    coverage: { rules: number; covered: number; percent: number; missing: { policy?: string; rule: string; line: number | null }[] }
  } | null
  problems: Finding[]
}

/// A deployment file, and what the operator should know.
export interface Rendered {
  text: string
  notes: { place: string; note: string }[]
}

/// The deployment files that there are, and the options that have a value where nobody gives one.
export interface Offered {
  targets: { word: string; about: string }[]
  usual: Record<string, string>
}

/// A step of a policy test: who calls what, and when.
export interface Step {
  call?: unknown
  caller?: string
  identity?: Record<string, unknown>
  headers?: Record<string, string>
  session?: string
  host?: string
  path?: string
  route?: string
  at?: string
  repeat?: number
  response?: 'error'
  approval?: string
}

/// Counters that a call meets: none, a copy of what has been counted, or the counters themselves, on which it counts.
export type On = 'nothing' | 'copy' | 'counters'

export type Question =
  | { do: 'check'; name: string; text: string; tools?: string; policy?: string }
  | { do: 'try'; step: Step; on: On }
  | { do: 'list'; step: Step; tools: string }
  | { do: 'test'; name: string; text: string }
  | { do: 'judge'; text: string }
  | { do: 'render'; name: string; options: Record<string, string> }
  | { do: 'options' }
  | { do: 'reset' }

/// What the engine says where it has no answer.
export class Trouble extends Error {}

type Answer = Record<string, unknown>

interface Waiting { done(answers: (Answer | Trouble)[]): void; fail(error: unknown): void }

/// An engine in a thread of its own. It answers in the order in which it is asked.
export class Engine {
  private readonly worker: Worker
  private readonly waiting = new Map<number, Waiting>()
  private asked = 0

  /// It starts by itself; who asks meanwhile waits.
  constructor() {
    const address = URL.createObjectURL(new Blob([script], { type: 'text/javascript' }))
    this.worker = new Worker(address)
    this.worker.addEventListener('message', ({ data }: MessageEvent<FromWorker>) => this.answered(data))
    this.worker.addEventListener('error', (event) => {
      event.preventDefault()
      const error = new Trouble(`the engine cannot run here: ${event.message}`)
      for (const { fail } of this.waiting.values()) fail(error)
      this.waiting.clear()
    })
    this.send({ engine: document.getElementById('engine')?.textContent?.trim() ?? '' })
  }

  private send(message: ToWorker): void {
    this.worker.postMessage(message)
  }

  private answered({ id, answers }: FromWorker): void {
    const waiting = this.waiting.get(id)
    this.waiting.delete(id)
    waiting?.done(answers.map((answer) => {
      if (typeof answer !== 'string') return new Trouble(`the engine has failed, and was started anew: ${answer.failed}`)
      const read = JSON.parse(answer) as Answer
      return typeof read['trouble'] === 'string' ? new Trouble(read['trouble']) : read
    }))
  }

  /// Asks several things with nothing between them, for as long as there is time.
  all(questions: readonly Question[], within = Infinity): Promise<(Answer | Trouble)[]> {
    const id = ++this.asked
    return new Promise((done, fail) => {
      this.waiting.set(id, { done, fail })
      this.send({ id, questions: questions.map((question) => JSON.stringify(question).toWellFormed()), within })
    })
  }

  private async ask(question: Question): Promise<Answer> {
    const [answer] = await this.all([question])
    if (answer === undefined || answer instanceof Trouble) throw answer ?? new Trouble('the engine says nothing')
    return answer
  }

  async check(name: string, text: string, tools: string, policy: string): Promise<Checked> {
    return (await this.ask(checking(name, text, tools, policy)))['answer'] as Checked
  }

  async try(step: Step, on: On): Promise<Tried> {
    return (await this.ask({ do: 'try', step, on })) as unknown as Tried
  }

  async list(step: Step, tools: string): Promise<string | null> {
    return (await this.ask({ do: 'list', step, tools }))['answer'] as string | null
  }

  async test(name: string, text: string): Promise<Tested> {
    return (await this.ask({ do: 'test', name, text })) as unknown as Tested
  }

  async judge(text: string): Promise<{ tools: Judged[]; remarks: string[] }> {
    return (await this.ask({ do: 'judge', text }))['answer'] as { tools: Judged[]; remarks: string[] }
  }

  /// Options as `mcp-policy render` has them, by their names.
  async render(name: string, options: Record<string, string>): Promise<Rendered> {
    return (await this.ask({ do: 'render', name, options }))['answer'] as Rendered
  }

  async options(): Promise<Offered> {
    return (await this.ask({ do: 'options' }))['answer'] as Offered
  }

  async reset(): Promise<void> {
    await this.ask({ do: 'reset' })
  }
}

export function checking(name: string, text: string, tools = '', policy = ''): Question {
  return { do: 'check', name, text, ...(tools ? { tools } : {}), ...(policy ? { policy } : {}) }
}

let second: Engine | null = null

/// A second engine, for what must not touch the counters of the call that is tried, and may take long: attacks, other policies, whole logs.
/// It starts when somebody needs it.
export function secondEngine(): Engine {
  return (second ??= new Engine())
}

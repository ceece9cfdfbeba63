// The engine: the library of mcp-policy, compiled to WebAssembly. A question goes in as JSON, an answer comes out.

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

export type Question =
  | { do: 'check'; name: string; text: string; tools?: string; policy?: string }
  | { do: 'try'; step: Step; fresh?: boolean }
  | { do: 'list'; step: Step; tools: string }
  | { do: 'test'; name: string; text: string }
  | { do: 'judge'; text: string }
  | { do: 'reset' }

interface Exports {
  memory: WebAssembly.Memory
  room(length: number): number
  ask(length: number): number
}

/// What the engine says where it has no answer.
export class Trouble extends Error {}

export class Engine {
  private readonly writer = new TextEncoder()
  private readonly reader = new TextDecoder()

  private constructor(
    private readonly module: WebAssembly.Module,
    private exports: Exports,
  ) {}

  static async start(bytes: BufferSource): Promise<Engine> {
    const module = await WebAssembly.compile(bytes)
    return new Engine(module, Engine.instance(module))
  }

  private static instance(module: WebAssembly.Module): Exports {
    return new WebAssembly.Instance(module).exports as unknown as Exports
  }

  private ask(question: Question): Record<string, unknown> {
    const bytes = this.writer.encode(JSON.stringify(question).toWellFormed())
    let answer: string
    try {
      const room = this.exports.room(bytes.length)
      new Uint8Array(this.exports.memory.buffer, room, bytes.length).set(bytes)
      const length = this.exports.ask(bytes.length)
      answer = this.reader.decode(new Uint8Array(this.exports.memory.buffer, this.exports.room(0), length))
    } catch (error) {
      // An engine that has failed is not asked again.
      this.exports = Engine.instance(this.module)
      throw new Trouble(`the engine has failed, and was started anew: ${String(error)}`)
    }
    const read = JSON.parse(answer) as Record<string, unknown>
    if (typeof read['trouble'] === 'string') throw new Trouble(read['trouble'])
    return read
  }

  check(name: string, text: string, tools: string, policy: string): Checked {
    const more = { ...(tools ? { tools } : {}), ...(policy ? { policy } : {}) }
    return this.ask({ do: 'check', name, text, ...more })['answer'] as Checked
  }

  try(step: Step, fresh: boolean): Tried {
    return this.ask({ do: 'try', step, fresh }) as unknown as Tried
  }

  list(step: Step, tools: string): string | null {
    return this.ask({ do: 'list', step, tools })['answer'] as string | null
  }

  test(name: string, text: string): Tested {
    return this.ask({ do: 'test', name, text }) as unknown as Tested
  }

  judge(text: string): { tools: Judged[]; remarks: string[] } {
    return this.ask({ do: 'judge', text })['answer'] as { tools: Judged[]; remarks: string[] }
  }

  reset(): void {
    this.ask({ do: 'reset' })
  }
}

/// Bytes that were packed with gzip.
export async function unpacked(bytes: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer> {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))
  return new Response(stream).arrayBuffer()
}

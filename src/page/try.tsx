// A call, and what becomes of it: the rule that decided, every comparison, what the agent reads, and the counters.

import { useState } from 'preact/hooks'
import type { JSX } from 'preact'
import { at, edited } from './document'
import { rootOf } from './policy'
import type { Explanation, TracedCount, TracedRule } from './engine'
import { useLiveDraft } from './words'
import { attempt, example, get, reset, runTests, say, set, setCall, stepOf, use, type Schema, type Tool } from './store'

const WORDS: Record<string, string> = {
  allow: 'Allowed', deny: 'Denied', ask: 'Asks', would_deny: 'Allowed, would be denied', would_ask: 'Allowed, would ask', refuse: 'Refused', pass: 'Passes',
}
const KINDS: Record<string, string> = { allow: 'allow', pass: 'allow', would_deny: 'ask', would_ask: 'ask', ask: 'ask', deny: 'deny', refuse: 'deny' }

export function kindOf(decision: string): 'allow' | 'ask' | 'deny' {
  return (KINDS[decision] ?? 'deny') as 'allow' | 'ask' | 'deny'
}

export function Try(): JSX.Element {
  return (
    <section class="pane try" id="try" aria-labelledby="try-title">
      <header><h2 id="try-title">Try it</h2><Took /></header>
      <CallForm />
      <Decision />
      <Seen />
    </section>
  )
}

function Took(): JSX.Element | null {
  const took = use((state) => state.took)
  return took > 0 ? <span class="count" title="Checking the policy and deciding the call, in this browser">{took < 1 ? '< 1' : Math.round(took)} ms</span> : null
}

function CallForm(): JSX.Element {
  const call = use((state) => state.call)
  const tools = use((state) => state.tools)
  const history = use((state) => state.history)
  const valid = use((state) => state.checked?.valid ?? false)
  const tool = tools.find((each) => each.name === call.tool)
  return (
    <form class="call" data-args={call.args} onSubmit={(event) => { event.preventDefault(); void attempt(true).then(() => say(spoken(get().tried?.answer))) }}>
      <label>Tool
        <input type="text" list="call-tools" value={call.tool} spellcheck={false} onInput={(event) => {
          const name = event.currentTarget.value
          const known = tools.find((each) => each.name === name)
          setCall({ tool: name, message: '', ...(known ? { args: example(known) } : {}) })
        }} />
      </label>
      <datalist id="call-tools">{tools.slice(0, 300).map((each) => <option key={each.name} value={each.name} />)}</datalist>
      <Arguments tool={tool} />
      <label>Caller
        <input type="text" value={call.caller} placeholder="anonymous" spellcheck={false} onInput={(event) => setCall({ caller: event.currentTarget.value })} />
      </label>
      <More />
      <div class="row">
        <button class="main" type="submit" disabled={!valid} title="The call counts, as an agent's would">Call{Number(call.repeat) > 1 ? ` ${call.repeat} times` : ''}</button>
        <button type="button" disabled={history.length === 0} onClick={() => void reset()}>Empty the counters</button>
        <button type="button" class="quiet" disabled={!valid || call.tool === ''} onClick={keep}>Keep as a test</button>
      </div>
      {history.length > 0 && (
        <ol class="history" aria-label="Calls that were counted">
          {history.slice(-6).map((each, number) => <li key={number} class={kindOf(each.decision)}>{each.calls > 1 ? `${each.calls} × ` : ''}{each.call}: {WORDS[each.decision] ?? each.decision}{each.reason !== '' && ` (${each.reason})`}</li>)}
        </ol>
      )}
    </form>
  )
}

function spoken(answer: Explanation | undefined): string {
  return answer ? `${answer.call}: ${WORDS[answer.decision] ?? answer.decision}${answer.reason ? `, ${answer.reason}` : ''}` : 'no decision'
}

function Arguments({ tool }: { tool: Tool | undefined }): JSX.Element {
  const args = use((state) => state.call.args)
  const message = use((state) => state.call.message)
  const [asText, setAsText] = useState(false)
  const properties = Object.entries(tool?.inputSchema?.properties ?? {})
  let read: Record<string, unknown> | null = null
  try {
    read = args.trim() === '' ? {} : (JSON.parse(args) as Record<string, unknown>)
  } catch {
    read = null
  }
  const broken = read === null || typeof read !== 'object' || Array.isArray(read)
  const plain = asText || broken || properties.length === 0 || message !== ''
  const put = (name: string, value: unknown) => {
    const next = { ...read }
    if (value === undefined) delete next[name]
    else next[name] = value
    setCall({ args: JSON.stringify(next), message: '' })
  }
  return (
    <fieldset>
      <legend>Arguments
        {properties.length > 0 && <button type="button" class="quiet" onClick={() => setAsText(!asText)} disabled={broken}>{plain ? 'as a form' : 'as JSON'}</button>}
      </legend>
      {plain
        ? <label><span class="unseen">Arguments as JSON</span><textarea rows={3} spellcheck={false} value={args} aria-invalid={broken} onInput={(event) => setCall({ args: event.currentTarget.value, message: '' })} /></label>
        : properties.map(([name, schema]) => <Argument key={name} name={name} schema={schema} value={read?.[name]} required={tool?.inputSchema?.required?.includes(name) ?? false} put={(value) => put(name, value)} />)}
    </fieldset>
  )
}

function Argument({ name, schema, value, required, put }: { name: string; schema: Schema; value: unknown; required: boolean; put(value: unknown): void }): JSX.Element {
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type
  const text = value === undefined ? '' : typeof value === 'string' && type === 'string' ? value : JSON.stringify(value)
  const title = schema.description ?? ''
  const typed = (next: string): unknown => {
    if (next === '') return undefined
    if (type === 'string') return next
    try {
      return JSON.parse(next) as unknown
    } catch {
      return next
    }
  }
  const draft = useLiveDraft(text, (next) => put(typed(next)))
  const shown = <span class="argument">{name}{required && <abbr title="required">*</abbr>}</span>
  if (schema.enum) {
    return (
      <label title={title}>{shown}
        <select value={text} onChange={(event) => put(event.currentTarget.value === '' ? undefined : schema.enum?.find((each) => String(each) === event.currentTarget.value))}>
          <option value="">not given</option>
          {schema.enum.map((each) => <option key={String(each)} value={typeof each === 'string' && type === 'string' ? each : JSON.stringify(each)}>{String(each)}</option>)}
        </select>
      </label>
    )
  }
  if (type === 'boolean') {
    return (
      <label title={title}>{shown}
        <select value={text} onChange={(event) => put(event.currentTarget.value === '' ? undefined : event.currentTarget.value === 'true')}>
          <option value="">not given</option><option value="true">true</option><option value="false">false</option>
        </select>
      </label>
    )
  }
  return (
    <label title={title}>{shown}
      <input type="text" {...draft} placeholder={required ? '' : 'not given'} spellcheck={false} inputMode={type === 'number' || type === 'integer' ? 'decimal' : 'text'} />
    </label>
  )
}

function More(): JSX.Element {
  const call = use((state) => state.call)
  const policies = use((state) => state.checked?.policies)
  const line = (key: 'session' | 'host' | 'path' | 'at' | 'repeat', label: string, placeholder: string) => (
    <label>{label}<input type="text" value={call[key]} placeholder={placeholder} spellcheck={false} onInput={(event) => setCall({ [key]: event.currentTarget.value })} /></label>
  )
  return (
    <details>
      <summary>Claims, headers, time, repetitions…</summary>
      {policies && policies.length > 1 && (
        <label>Policy
          <select value={call.policy} onChange={(event) => setCall({ policy: event.currentTarget.value })}>
            <option value="">as the bindings say</option>
            {policies.map((name) => <option key={name} value={name}>{name}</option>)}
          </select>
        </label>
      )}
      <label>Claims and other names, one a line
        <textarea rows={2} spellcheck={false} placeholder={'team: sre\nroles: ["oncall"]'} value={call.identity} onInput={(event) => setCall({ identity: event.currentTarget.value })} />
      </label>
      <label>Headers, one a line
        <textarea rows={2} spellcheck={false} placeholder="x-region: eu" value={call.headers} onInput={(event) => setCall({ headers: event.currentTarget.value })} />
      </label>
      {line('session', 'Session', 'none')}
      {line('host', 'Host', 'localhost')}
      {line('path', 'Path', '/mcp')}
      {line('at', 'Time', '2026-01-01T00:00:00Z')}
      {line('repeat', 'Repeat', '1')}
      <label>The server answers
        <select value={call.response} onChange={(event) => setCall({ response: event.currentTarget.value as '' | 'error' })}><option value="">with a result</option><option value="error">with an error</option></select>
      </label>
      <label>Who is asked says
        <select value={call.approval} onChange={(event) => setCall({ approval: event.currentTarget.value })}>
          <option value="">nothing yet</option><option value="accept">yes</option><option value="decline">no</option><option value="pending">wait</option><option value="used">yes, and the agent tries twice</option>
        </select>
      </label>
      <label>A whole message in their place
        <textarea rows={2} spellcheck={false} placeholder={'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", …}'} value={call.message} onInput={(event) => setCall({ message: event.currentTarget.value })} />
      </label>
    </details>
  )
}

function Decision(): JSX.Element {
  const tried = use((state) => state.tried)
  const trouble = use((state) => state.trouble)
  const checked = use((state) => state.checked)
  if (trouble !== '') return <p class="problem" role="status">{trouble}</p>
  if (checked && !checked.valid) {
    const errors = checked.problems.filter((problem) => problem.severity === 'error').length
    return <p class="problem" role="status">{errors === 1 ? 'One problem has' : `${errors} problems have`} to be mended before the policy decides anything.</p>
  }
  if (!tried) return <p class="hint">Name a tool, and the engine says at once what becomes of a call.</p>
  const { answer, marks, runs } = tried
  const kind = kindOf(answer.decision)
  return (
    <div class="decision" aria-live="polite">
      <p class={`verdict ${kind}`} data-decision={answer.decision} data-reason={answer.reason ?? ''} data-rule={answer.rule ?? ''}>
        <b>{WORDS[answer.decision] ?? answer.decision}</b> <span>{answer.call}</span>
      </p>
      {answer.reason && <p class="because">because <code>{answer.reason}</code>{answer.rule
        ? <>: <button class="link" onClick={() => show(marks[answer.rule ?? ''])}><code>{answer.rule}</code>{answer.line !== undefined && `, line ${answer.line}`}</button></>
        : ', before any rule'}</p>}
      {looksAtTime(answer) && <p class="because">at {weekday(answer.at)} <code>{answer.at}</code>{get().call.at === '' && <span class="hint">, the time of every try that gives none (“Claims, headers, time…”)</span>}</p>}
      {answer.governed_by && <p class="because">under the policy <b>{answer.governed_by}</b></p>}
      {answer.asks && <p class="because">asks <b>{answer.asks}</b>{(answer.approval_by?.length ?? 0) > 1 && ` (one of these is enough: ${answer.approval_by?.join(', ')})`}</p>}
      {answer.message && <blockquote><small>{answer.asks ? 'The person is shown' : 'The agent reads'}</small>{answer.message}<small>HTTP {answer.status}{answer.code !== undefined && `, code ${answer.code}`}</small></blockquote>}
      {runs.length > 1 && <p class="because">{runs.map((run) => `${run.calls} × ${(WORDS[run.decision] ?? run.decision).toLowerCase()}`).join(', then ')}</p>}
      <ul class="rules">{answer.rules.filter((rule) => !['name', 'hide', 'default'].includes(rule.kind)).map((rule, number) => <Rule key={number} rule={rule} answer={answer} mark={marks[rule.rule]} />)}</ul>
    </div>
  )
}

/// Whether the time of the call says anything.
function looksAtTime({ rule = '', rules }: Explanation): boolean {
  const ofTime = /\/(during|not_before|not_after)$/
  return ofTime.test(rule) || rules.some((each) => ofTime.test(each.rule) || each.conditions?.some(({ path, value }) => path === 'now' || value === 'now'))
}

function weekday(time: string): string {
  const date = new Date(time)
  return Number.isNaN(date.getTime()) ? '' : date.toLocaleDateString('en', { weekday: 'long', timeZone: 'UTC' })
}

/// Shows a place in the text.
function show(range: [number, number] | undefined): void {
  if (!range) return
  set({ view: 'text', part: 'policy' })
  setTimeout(() => dispatchEvent(new CustomEvent('jump', { detail: range })), 60)
}

function Rule({ rule, answer, mark }: { rule: TracedRule; answer: Explanation; mark: [number, number] | undefined }): JSX.Element {
  const decides = rule.denies && rule.rule === answer.rule && rule.reason === answer.reason
  const kind = !rule.denies ? 'allow' : rule.asks || rule.shadow ? 'ask' : 'deny'
  return (
    <li class={`${kind}${decides ? ' decides' : ''}`}>
      <span class="mark">{rule.denies ? (rule.asks ? 'asks' : rule.shadow ? 'would' : 'denies') : 'ok'}</span>{' '}
      <button class="link" onClick={() => show(mark)}>{rule.rule}</button>
      {rule.conditions?.map((condition, number) => (
        <p key={number} class={`compared ${condition.outcome}`}>
          <code>{condition.path}</code> {condition.op} <code>{condition.value}</code> is <b>{condition.outcome}</b>: found {condition.found.join(', ') || 'nothing'}{condition.expected && `, needs ${condition.expected}`}
        </p>
      ))}
      {rule.count && <Count count={rule.count} isAtOnce={isAtOnce(rule.rule, answer)} />}
    </li>
  )
}

/// Whether a limit is on calls that are in flight at once, and so has no window.
function isAtOnce(rule: string, answer: Explanation): boolean {
  const { value, call } = get()
  const steps = rule.slice(1).split('/').map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
  return at(value, [...rootOf(value, answer.governed_by ?? call.policy), ...steps, 'concurrent']) !== undefined
}

function Count({ count, isAtOnce }: { count: TracedCount; isAtOnce: boolean }): JSX.Element {
  const used = Number(count.used ?? 0)
  const most = Number(count.burst ?? count.max ?? 0)
  const amount = Number(count.amount ?? 0)
  return (
    <p class="compared">
      {count.counter} ({count.scope}): {count.used ?? 'unreadable'}{most > 0 && ` of ${most}`} {isAtOnce ? 'in flight at once' : `used in ${span(count.window_seconds)}`}; {count.problem ?? `this call counts ${count.amount ?? 'nothing'}`}
      {count.retry_after_ms !== undefined && `; room again in ${Math.ceil(count.retry_after_ms / 1000)} s`}
      {most > 0 && <progress max={most} value={Math.min(most, used + (used + amount <= most ? amount : 0))} aria-label={`${count.counter}: ${used} of ${most}`} />}
    </p>
  )
}

function span(seconds: number): string {
  if (seconds >= 2_419_200 && seconds <= 2_678_400) return 'a month'
  const units: [number, string, string][] = [[604800, 'a week', 'weeks'], [86400, 'a day', 'days'], [3600, 'an hour', 'hours'], [60, 'a minute', 'minutes'], [1, 'a second', 'seconds']]
  const unit = units.find(([length]) => seconds % length === 0)
  return unit ? (seconds === unit[0] ? unit[1] : `${seconds / unit[0]} ${unit[2]}`) : `${seconds} s`
}

/// The tools as the caller sees them.
function Seen(): JSX.Element | null {
  const seen = use((state) => state.seen)
  const seenText = use((state) => state.seenText)
  const tools = use((state) => state.tools)
  const caller = use((state) => state.call.caller)
  if (!seen || tools.length === 0) return null
  const gone = tools.filter((tool) => !seen.has(tool.name))
  // Four characters are about one token, in the tokenizers of the large models.
  const tokens = Math.max(0, Math.round((JSON.stringify(tools).length - seenText.length) / 4))
  return (
    <details class="seen">
      <summary>{caller || 'An anonymous caller'} sees <b>{seen.size}</b> of {tools.length} tools{tokens > 0 && <>: about <b>{tokens.toLocaleString('en')}</b> tokens less in each session</>}</summary>
      <ul>{tools.filter((tool) => seen.has(tool.name)).slice(0, 200).map((tool) => <li key={tool.name}>{tool.name}</li>)}</ul>
      {gone.length > 0 && <p class="hint">Not shown: {gone.slice(0, 60).map((tool) => tool.name).join(', ')}{gone.length > 60 && '…'}</p>}
    </details>
  )
}

/// Puts the call, and what became of it, at the end of the tests.
function keep(): void {
  const { call, tried, tests } = get()
  if (!tried) return
  const { answer } = tried
  const expect = answer.reason
    ? { decision: answer.decision, reason: answer.reason, ...(answer.rule ? { rule: answer.rule } : {}) }
    : answer.decision
  const text = tests.trim() === '' ? 'tests: []\n' : tests
  const known = text.match(/name: /g)?.length ?? 0
  const name = `${WORDS[answer.decision] ?? answer.decision} ${answer.call || 'a message'} by ${call.caller || 'anonymous'} (${known + 1})`
  try {
    set({ tests: edited(text, ['tests', count(text)], { name: name.toLowerCase(), ...stepOf(call), expect }), below: 'tests', part: get().part === 'try' ? 'more' : get().part })
    void runTests().then(() => say('kept as a test'))
  } catch (error) {
    say((error as Error).message)
  }
}

function count(text: string): number {
  return (text.match(/^\s*- (\{\s*)?name:/gm) ?? []).length
}

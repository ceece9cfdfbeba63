// The policy as sentences. Every field is a place in the text, and changes nothing but that.

import { useRef, useState } from 'preact/hooks'
import type { ComponentChildren, JSX } from 'preact'
import { schema } from 'stock'
import { at, rangeOf, type Path } from './document'
import { paths, schemaAt } from './complete'
import { OPERATORS, list, operand, operandText, record, rootOf, type Entry } from './policy'
import { edit, get, rename, say, set, use } from './store'

/// Fields of a policy that have sentences here; what else it says is shown as being there.
const SAID = new Set(['version', 'description', 'default', 'mode', 'hide', 'tools', 'name'])
const SAID_OF_ENTRY = new Set(['action', 'reason', 'mode', 'require', 'deny_if', 'ask_if', 'limits', 'rate_limit', 'approval'])

function change(path: Path, value: unknown): void {
  try {
    edit(path, value)
  } catch (error) {
    say((error as Error).message)
  }
}

export function Form(): JSX.Element {
  const value = use((state) => state.value)
  const chosen = use((state) => state.call.policy)
  const [filter, setFilter] = useState('')
  const [most, setMost] = useState(60)
  const root = rootOf(value, chosen)
  const policy = record(at(value, root))
  const entries = Object.entries(record(policy['tools']))
  const words = filter.toLowerCase()
  const shown = entries.filter(([key]) => key.toLowerCase().includes(words))
  const hide = list(policy['hide'])
  return (
    <div class="form">
      <p class="sentence">
        A tool that no line below names is{' '}
        <Choice label="What becomes of tools that no entry names" value={String(policy['default'] ?? '')} options={[['deny', 'denied'], ['allow', 'allowed'], ...(policy['default'] === undefined ? [['', 'not decided'] as const] : [])]}
          set={(next) => change([...root, 'default'], next === '' ? undefined : next)} />.{' '}
        The policy{' '}
        <Choice label="Mode" value={String(policy['mode'] ?? 'enforce')} options={[['enforce', 'is in force'], ['shadow', 'only watches']]}
          set={(next) => change([...root, 'mode'], next === 'enforce' ? undefined : next)} />.
      </p>
      <p class="sentence">
        Hidden, as if they did not exist:{' '}
        <Field label="Hidden tools, by name or glob, with commas" value={hide.map(String).join(', ')} placeholder="nothing" wide
          set={(text) => change([...root, 'hide'], names(text))} />
      </p>
      {entries.length > 12 && (
        <label class="grow"><span class="unseen">Filter the entries</span>
          <input type="search" placeholder={`Filter ${entries.length} entries`} value={filter} onInput={(event) => setFilter(event.currentTarget.value)} />
        </label>
      )}
      {shown.slice(0, most).map(([key, entry]) => <EntryForm key={key} path={[...root, 'tools', key]} name={key} entry={record(entry)} />)}
      {shown.length > most && <button class="quiet wide" onClick={() => setMost(most + 200)}>Show {Math.min(200, shown.length - most)} more of {shown.length}</button>}
      <AddEntry path={[...root, 'tools']} known={entries.map(([key]) => key)} />
      <Rest value={policy} said={SAID} path={root} what="The policy also has" />
    </div>
  )
}

function names(text: string): string[] | undefined {
  const found = text.split(',').map((each) => each.trim()).filter(Boolean)
  return found.length > 0 ? found : undefined
}

function AddEntry({ path, known }: { path: Path; known: readonly string[] }): JSX.Element {
  const tools = use((state) => state.tools)
  const [name, setName] = useState('')
  const add = () => {
    if (name.trim() === '') return
    change([...path, name.trim()], {})
    setName('')
  }
  return (
    <form class="row add" onSubmit={(event) => { event.preventDefault(); add() }}>
      <label class="grow"><span class="unseen">Name of a tool, or a glob</span>
        <input list="tool-names" placeholder="a tool, or a glob such as list_*" value={name} onInput={(event) => setName(event.currentTarget.value)} />
      </label>
      <datalist id="tool-names">{tools.filter((tool) => !known.includes(tool.name)).slice(0, 200).map((tool) => <option key={tool.name} value={tool.name} />)}</datalist>
      <button type="submit" disabled={name.trim() === '' || known.includes(name.trim())}>Add it</button>
    </form>
  )
}

const APPROVERS = [['user', 'the user'], ['approver', 'the approver'], ['token', 'whoever signs a token']] as const

const CHECKS = [
  { key: 'require', open: 'only if', add: 'only if…', deny: 'Tell the agent otherwise' },
  { key: 'deny_if', open: 'never if', add: 'never if…', deny: 'Tell the agent then' },
  { key: 'ask_if', open: 'with approval if', add: 'with approval if…', deny: 'Tell the person' },
] as const

function EntryForm({ path, name, entry }: { path: Path; name: string; entry: Entry }): JSX.Element {
  const tool = use((state) => state.tools.find((each) => each.name === name))
  const decides = use((state) => state.tried?.answer.rules.some((rule) => rule.entry === name) ?? false)
  const action = entry.action ?? 'allow'
  const conditions = CHECKS.some(({ key }) => entry[key] !== undefined)
  const first = paths(tool)[0] ?? 'args.'
  const act = (next: string) => {
    change([...path, 'action'], next === 'allow' ? undefined : next)
    if (next === 'require_approval' && entry.approval === undefined) change([...path, 'approval'], 'user')
    if (next === 'deny' && entry.approval !== undefined) change([...path, 'approval'], undefined)
  }
  return (
    <article class={`entry ${action}${decides ? ' meets' : ''}`} aria-label={`Entry ${name}`}>
      <p class="sentence">
        <Field label="Name or glob" value={name} strong set={(next) => next.trim() !== '' && next !== name && rename(path, next.trim())} />{' '}
        <Choice label={`What becomes of ${name}`} value={action} options={[['allow', conditions || entry.limits || entry.rate_limit ? 'may be called' : 'may be called freely'], ['require_approval', 'may be called with approval'], ['deny', 'is denied']]} set={act} />
        {action === 'require_approval' && typeof entry.approval === 'string' && (
          <> by <Choice label={`Who approves ${name}`} value={entry.approval} options={APPROVERS} set={(next) => change([...path, 'approval'], next)} /></>
        )}
        {action !== 'allow' && <> and the agent reads <Field label={`Reason of ${name}`} value={entry.reason ?? ''} placeholder="the usual sentence" wide set={(next) => change([...path, 'reason'], next === '' ? undefined : next)} /></>}
        {entry.mode === 'shadow' && <b class="tag">only watched</b>}
        <button class="remove" aria-label={`Remove the entry ${name}`} title="Remove" onClick={() => change(path, undefined)}>×</button>
      </p>
      {CHECKS.map((kind) => list(entry[kind.key]).map((check, number) => (
        <Check key={`${kind.key}${number}`} kind={kind} path={[...path, kind.key, number]} check={record(check)} tool={name} />
      )))}
      {action === 'allow' && list(entry.ask_if).length > 0 && typeof entry.approval === 'string' && (
        <p class="sentence check">the one who is asked is <Choice label={`Who approves ${name}`} value={entry.approval} options={APPROVERS} set={(next) => change([...path, 'approval'], next)} /></p>
      )}
      <Limits path={path} entry={entry} tool={name} />
      <p class="row adds">
        {action !== 'deny' && CHECKS.map(({ key, add }) => (key !== 'ask_if' || action === 'allow') && (
          <button key={key} class="quiet" onClick={() => {
            if (key === 'ask_if' && entry.approval === undefined) change([...path, 'approval'], 'user')
            change([...path, key, list(entry[key]).length], { conditions: [{ path: first, op: 'eq', value: '' }] })
          }}>+ {add}</button>
        ))}
        {action !== 'deny' && <button class="quiet" onClick={() => change([...path, 'limits', list(entry.limits).length], { counter: free(entry), window: 'day', max: 20 })}>+ at most…</button>}
        <button class="quiet" onClick={() => jump(path)}>text</button>
      </p>
      <Rest value={entry} said={SAID_OF_ENTRY} path={path} what="and also" />
    </article>
  )
}

function free(entry: Entry): string {
  const taken = list(entry.limits).map((limit) => record(limit)['counter'])
  for (let number = 1; ; number += 1) {
    const name = number === 1 ? 'calls' : `calls_${number}`
    if (!taken.includes(name)) return name
  }
}

function Check({ kind, path, check, tool }: { kind: (typeof CHECKS)[number]; path: Path; check: Record<string, unknown>; tool: string }): JSX.Element {
  const conditions = list(check['conditions']).map(record)
  const takeOut = (number: number) => change(conditions.length > 1 ? [...path, 'conditions', number] : lastOf(path), undefined)
  return (
    <div class="check">
      {conditions.map((condition, number) => (
        <ConditionForm key={number} path={[...path, 'conditions', number]} condition={condition} tool={tool} lead={number === 0 ? kind.open : 'and'} remove={() => takeOut(number)} />
      ))}
      <p class="sentence small">
        {kind.key !== 'ask_if' && <>{kind.deny} <Field label={kind.deny} value={String(check['on_deny'] ?? '')} placeholder="the usual sentence" wide set={(next) => change([...path, 'on_deny'], next === '' ? undefined : next)} /></>}
        <button class="quiet" onClick={() => change([...path, 'conditions', conditions.length], { path: 'args.', op: 'eq', value: '' })}>+ and…</button>
      </p>
    </div>
  )
}

/// A check that is the only one of its list goes with the list.
function lastOf(path: Path): Path {
  const parent = path.slice(0, -1)
  return list(at(get().value, parent)).length > 1 ? path : parent
}

const KNOWN = (at(schema, ['$defs', 'condition', 'properties', 'op', 'enum']) as string[] | undefined) ?? OPERATORS.map(({ op }) => op)
const WORDS = new Map(OPERATORS.map(({ op, words }) => [op, words]))

interface ConditionProps { path: Path; condition: Record<string, unknown>; tool: string; lead: string; remove(): void }

function ConditionForm({ path, condition, tool, lead, remove }: ConditionProps): JSX.Element {
  const known = use((state) => state.tools.find((each) => each.name === tool))
  const outcome = use((state) => outcomeOf(state.tried?.answer.rules, path, condition))
  const argument = String(condition['path'] ?? '')
  const op = String(condition['op'] ?? 'eq')
  const wanted = schemaAt(known, argument)
  const suggested = wanted?.enum?.map(String) ?? []
  const id = `c${path.join('-').replace(/\W/g, '_')}`
  return (
    <p class={`sentence condition ${outcome}`}>
      <span class="lead">{lead}</span>{' '}
      <Field label="Argument" value={argument} options={[...paths(known), ...get().checked?.keys.map((key) => `identity.${key}`) ?? []]} id={id} set={(next) => change([...path, 'path'], next)} />{' '}
      <Choice label="Comparison" value={op} options={KNOWN.map((each) => [each, WORDS.get(each) ?? each] as const)} set={(next) => {
        change([...path, 'op'], next)
        change([...path, 'value'], operand(operandText(condition['value']), next))
      }} />{' '}
      {op === 'exists'
        ? <Choice label="Is there" value={String(condition['value'] ?? true)} options={[['true', 'yes'], ['false', 'no']]} set={(next) => change([...path, 'value'], next === 'true')} />
        : <Field label="Value" value={operandText(condition['value'])} placeholder={placeholder(op)} options={suggested} id={`${id}v`} set={(next) => change([...path, 'value'], operand(next, op))} />}
      {outcome !== '' && <span class="outcome">{outcome}</span>}
      <button class="remove" aria-label={`Remove this condition on ${argument}`} title="Remove" onClick={remove}>×</button>
    </p>
  )
}

function placeholder(op: string): string {
  switch (OPERATORS.find((each) => each.op === op)?.takes) {
    case 'list': return 'one, two, three'
    case 'number': return 'a number'
    case 'time': return 'now, or 2026-12-01T00:00:00Z'
    default: return 'a value'
  }
}

function outcomeOf(rules: readonly { rule: string; conditions?: readonly { path: string; op: string; outcome: string }[] }[] | undefined, path: Path, condition: Record<string, unknown>): string {
  const pointer = path.slice(-5, -2).map((step) => `/${String(step).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')
  const rule = rules?.find((each) => each.rule === `/tools${pointer}`)
  return rule?.conditions?.find((each) => each.path === condition['path'] && each.op === condition['op'])?.outcome ?? ''
}

const WINDOWS = ['second', 'minute', 'hour', 'day', 'week', 'month']

function Limits({ path, entry, tool }: { path: Path; entry: Entry; tool: string }): JSX.Element {
  const known = use((state) => state.tools.find((each) => each.name === tool))
  const keys = use((state) => state.checked?.keys)
  const scopes = [['grant', 'each caller'], ['global', 'all callers together'], ['session', 'each session'], ['address', 'each address'], ...(keys ?? []).map((key) => [key, `each ${key}`] as const)] as const
  return (
    <>
      {typeof entry.rate_limit === 'string' && (
        <p class="sentence check">at most <Field label="Rate" value={entry.rate_limit} placeholder="60/minute" set={(next) => change([...path, 'rate_limit'], next)} /> for each caller
          <button class="remove" aria-label="Remove this rate" title="Remove" onClick={() => change([...path, 'rate_limit'], undefined)}>×</button></p>
      )}
      {list(entry.limits).map(record).map((limit, number) => {
        const own = [...path, 'limits', number]
        const amount = typeof limit['increment_from'] === 'string' ? limit['increment_from'] : ''
        return (
          <p class="sentence check" key={number}>
            at most <Field label="Most" value={operandText(limit['max'])} narrow set={(next) => change([...own, 'max'], Number(next) || 0)} />{' '}
            <Choice label="Of what" value={amount} options={[['', 'calls'], ...[...new Set([...paths(known), ...(amount ? [amount] : [])])].map((each) => [each, `of ${each}`] as const)]} set={(next) => change([...own, 'increment_from'], next === '' ? undefined : next)} />{' '}
            in each <Choice label="Window" value={String(limit['window'] ?? '')} options={[...new Set([...WINDOWS, String(limit['window'] ?? 'day')])].map((each) => [each, each] as const)} set={(next) => change([...own, 'window'], next)} />{' '}
            for <Choice label="Who counts together" value={String(limit['scope'] ?? 'grant')} options={scopes} set={(next) => change([...own, 'scope'], next === 'grant' ? undefined : next)} />, counted as{' '}
            <Field label="Counter" value={String(limit['counter'] ?? '')} set={(next) => change([...own, 'counter'], next)} />
            <button class="remove" aria-label="Remove this limit" title="Remove" onClick={() => change(lastOf(own), undefined)}>×</button>
          </p>
        )
      })}
    </>
  )
}

function Rest({ value, said, path, what }: { value: Record<string, unknown>; said: ReadonlySet<string>; path: Path; what: string }): JSX.Element | null {
  const rest = Object.keys(value).filter((key) => !said.has(key) && key !== 'policies')
  if (rest.length === 0) return null
  return <p class="hint">{what} {rest.map((key, number) => <>{number > 0 ? ', ' : ''}<button class="link" onClick={() => jump([...path, key])}><code>{key}</code></button></>)}, in the text.</p>
}

/// Shows a place in the text.
export function jump(path: Path): void {
  const range = rangeOf(get().text, path)
  set({ view: 'text', part: 'policy' })
  if (range) setTimeout(() => dispatchEvent(new CustomEvent('jump', { detail: range })), 60)
}

interface FieldProps {
  label: string
  value: string
  set(next: string): void
  placeholder?: string
  wide?: boolean
  narrow?: boolean
  strong?: boolean
  options?: readonly string[]
  id?: string
}

/// A word in a sentence that can be written over. It takes effect when it is left, or on Enter.
function Field({ label, value, set: take, placeholder = '', wide = false, narrow = false, strong = false, options, id }: FieldProps): JSX.Element {
  const input = useRef<HTMLInputElement>(null)
  const done = () => {
    const next = input.current?.value ?? value
    if (next !== value) take(next)
  }
  return (
    <>
      <input type="text" ref={input} class={`field${strong ? ' strong' : ''}`} aria-label={label} value={value} placeholder={placeholder} spellcheck={false}
        size={wide ? Math.max(24, Math.min(56, value.length + 2)) : narrow ? Math.max(4, value.length + 1) : Math.max(6, Math.min(48, (value || placeholder).length + 1))}
        {...(options && options.length > 0 && id ? { list: id } : {})} onChange={done}
        onKeyDown={(event) => {
          if (event.key === 'Escape' && input.current) input.current.value = value
          if (event.key === 'Enter') { event.preventDefault(); done() }
        }} />
      {options && options.length > 0 && id && <datalist id={id}>{options.map((each) => <option key={each} value={each} />)}</datalist>}
    </>
  )
}

function Choice({ label, value, options, set: take }: { label: string; value: string; options: readonly (readonly [string, ComponentChildren])[]; set(next: string): void }): JSX.Element {
  const known = options.some(([each]) => each === value) ? options : [...options, [value, value] as const]
  return (
    <select class="choice" aria-label={label} value={value} onChange={(event) => take(event.currentTarget.value)}>
      {known.map(([each, words]) => <option key={each} value={each}>{words}</option>)}
    </select>
  )
}

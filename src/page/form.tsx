// The policy as sentences. Every field is a place in the text, and changes nothing but that.

import { useState } from 'preact/hooks'
import type { JSX } from 'preact'
import { paths } from './complete'
import { ConditionForm } from './condition'
import { at, type Path } from './document'
import { TIMES, Times, WORKING_HOURS, Zones } from './hours'
import { Limits, free } from './limits'
import { list, record, rootOf, type Entry } from './policy'
import { rename, use } from './store'
import { change, changeMembers, Choice, Field, jump, lastOf, names, Remove, Rest } from './words'

/// Fields of a policy that have sentences here; what else it says is shown as being there.
const SAID = new Set(['version', 'description', 'default', 'mode', 'hide', 'tools', 'name', 'tools_list', 'pins'])
const SAID_OF_POLICY = new Set([...SAID, 'all_tools'])
const SAID_OF_ALL = new Set(['limits'])
const SAID_OF_ENTRY = new Set(['action', 'reason', 'mode', 'require', 'deny_if', 'ask_if', 'limits', 'rate_limit', 'approval', 'decode_json_strings', ...TIMES])

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
          set={(text) => change([...root, 'hide'], names(text))} />. Lists show{' '}
        <Choice label="Which tools lists have" value={String(policy['tools_list'] ?? 'listed')} options={[['listed', 'what a line below names'], ['callable', 'what can be called'], ['all', 'everything else']]}
          set={(next) => change([...root, 'tools_list'], next === 'listed' ? undefined : next)} />. The server may define tools{' '}
        <Choice label="How tools may be defined" value={String(policy['pins'] ?? '')} options={[['', 'as it likes'], ['first_use', 'only as they were when first seen']]}
          set={(next) => change([...root, 'pins'], next === '' ? undefined : next)} />.
      </p>
      <AllTools path={[...root, 'all_tools']} value={record(policy['all_tools'])} />
      {entries.length > 12 && (
        <label class="grow"><span class="unseen">Filter the entries</span>
          <input type="search" placeholder={`Filter ${entries.length} entries`} value={filter} onInput={(event) => setFilter(event.currentTarget.value)} />
        </label>
      )}
      {shown.slice(0, most).map(([key, entry]) => <EntryForm key={key} path={[...root, 'tools', key]} name={key} entry={record(entry)} />)}
      {shown.length > most && <button class="quiet wide" onClick={() => setMost(most + 200)}>Show {Math.min(200, shown.length - most)} more of {shown.length}</button>}
      <AddEntry path={[...root, 'tools']} known={entries.map(([key]) => key)} />
      <Rest value={policy} said={SAID_OF_POLICY} path={root} what="The policy also has" />
      {root.length > 0 && <Rest value={record(value)} said={SAID} path={[]} what="Beside the policies there are" />}
      <Zones />
    </div>
  )
}

/// Limits that every call counts against.
function AllTools({ path, value }: { path: Path; value: Record<string, unknown> }): JSX.Element {
  const add = <button class="quiet" onClick={() => change([...path, 'limits', list(value['limits']).length], { counter: free(value['limits'], 'all_calls'), window: 'minute', max: 60 })}>+ at most…</button>
  if (Object.keys(value).length === 0) return <p class="sentence small">There is no limit on all tools together. {add}</p>
  return (
    <article class="entry allow" aria-label="All tools together">
      <p class="sentence">All tools together {list(value['limits']).length > 0 ? 'may be called' : 'may be called freely'}</p>
      <Limits path={path} entry={value} tool="" />
      <p class="row adds">{add}<button class="quiet" title="Show it in the text" onClick={() => jump(path)}>in the text</button></p>
      <Rest value={value} said={SAID_OF_ALL} path={path} what="and also" />
    </article>
  )
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

const APPROVERS = [['user', 'the user'], ['approver', 'the approver'], ['token', 'whoever signs a token'], ['user, approver', 'the user or the approver'], ['token, approver', 'a token or the approver'], ['token, user', 'a token or the user']] as const

/// Who can say yes: one, or any one of several.
function Approver({ path, entry, of }: { path: Path; entry: Entry; of: string }): JSX.Element {
  const { approval } = entry
  const isLong = typeof approval === 'object' && approval !== null && !Array.isArray(approval)
  const by = isLong ? record(approval)['by'] : approval
  const put = (next: string) => change(isLong ? [...path, 'approval', 'by'] : [...path, 'approval'], next.includes(',') ? names(next) : next)
  return <Choice label={`Who approves ${of}`} value={Array.isArray(by) ? by.join(', ') : String(by ?? '')} options={by === undefined ? [['', 'nobody yet'], ...APPROVERS] : APPROVERS} set={put} />
}

const CHECKS = [
  { key: 'require', open: 'only if', add: 'only if…', deny: 'Tell the agent otherwise', text: 'on_deny' },
  { key: 'deny_if', open: 'never if', add: 'never if…', deny: 'Tell the agent then', text: 'on_deny' },
  { key: 'ask_if', open: 'with approval if', add: 'with approval if…', deny: 'Tell the person', text: 'reason' },
] as const

function EntryForm({ path, name, entry }: { path: Path; name: string; entry: Entry }): JSX.Element {
  const tool = use((state) => state.tools.find((each) => each.name === name))
  const decides = use((state) => state.tried?.answer.rules.some((rule) => rule.entry === name) ?? false)
  const action = entry.action ?? 'allow'
  const conditions = CHECKS.some(({ key }) => entry[key] !== undefined)
  const isTimed = TIMES.some((key) => key in entry)
  const first = paths(tool)[0] ?? 'args.'
  const act = (next: string) => changeMembers(path, {
    action: next === 'allow' ? undefined : next,
    // Where nothing is refused or asked there is nothing to give a reason for.
    ...(next === 'allow' && !isTimed ? { reason: undefined } : {}),
    ...(next === 'require_approval' && entry.approval === undefined ? { approval: 'user' } : {}),
    ...(next === 'deny' ? { approval: undefined } : {}),
  })
  return (
    <article class={`entry ${action}${decides ? ' meets' : ''}`} aria-label={`Entry ${name}`}>
      <p class="sentence">
        <Field label="Name or glob" value={name} strong set={(next) => next.trim() !== '' && next !== name && rename(path, next.trim())} />{' '}
        <Choice label={`What becomes of ${name}`} value={action} options={[['allow', conditions || entry.limits || entry.rate_limit ? 'may be called' : 'may be called freely'], ['require_approval', 'may be called with approval'], ['deny', 'is denied']]} set={act} />
        {action === 'require_approval' && <> by <Approver path={path} entry={entry} of={name} /></>}
        {(action !== 'allow' || isTimed) && <> and the agent reads <Field label={`Reason of ${name}`} value={entry.reason ?? ''} placeholder="the usual sentence" wide set={(next) => change([...path, 'reason'], next === '' ? undefined : next)} /></>}
        {entry.mode === 'shadow' && <b class="tag">only watched</b>}
        <Remove label={`Remove the entry ${name}`} take={() => change(path, undefined)} />
      </p>
      <Times path={path} value={entry} lead={action === 'allow' ? 'only' : 'this holds only'} of={name} gone={action === 'allow' ? ['reason'] : []} />
      {CHECKS.map((kind) => list(entry[kind.key]).map((check, number) => (
        <Check key={`${kind.key}${number}`} kind={kind} path={[...path, kind.key, number]} check={record(check)} tool={name} />
      )))}
      {action === 'allow' && list(entry.ask_if).length > 0 && <p class="sentence check">the one who is asked is <Approver path={path} entry={entry} of={name} /></p>}
      <Limits path={path} entry={entry} tool={name} />
      {entry.decode_json_strings !== undefined && (
        <p class="sentence check">a text that is JSON is <Choice label={`Texts that are JSON, for ${name}`} value={String(entry.decode_json_strings)} options={[['true', 'what it holds'], ['false', 'a text']]} set={(next) => change([...path, 'decode_json_strings'], next === 'true')} /> to this server
          <Remove label={`Remove what ${name} makes of texts that are JSON`} take={() => change([...path, 'decode_json_strings'], undefined)} /></p>
      )}
      <p class="row adds">
        {action !== 'deny' && CHECKS.map(({ key, add }) => (key !== 'ask_if' || action === 'allow') && (
          <button key={key} class="quiet" onClick={() => {
            const check = { conditions: [{ path: first, op: 'eq', value: '' }] }
            if (key === 'ask_if' && entry.approval === undefined) changeMembers(path, { [key]: [check], approval: 'user' })
            else change([...path, key, list(entry[key]).length], check)
          }}>+ {add}</button>
        ))}
        {action !== 'deny' && <button class="quiet" onClick={() => change([...path, 'limits', list(entry.limits).length], { counter: free(entry.limits), window: 'day', max: 20 })}>+ at most…</button>}
        {!isTimed && <button class="quiet" onClick={() => change([...path, 'during'], WORKING_HOURS)}>+ only at…</button>}
        <button class="quiet" title="Show it in the text" onClick={() => jump(path)}>in the text</button>
      </p>
      <Rest value={entry} said={SAID_OF_ENTRY} path={path} what="and also" />
    </article>
  )
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
        {kind.deny} <Field label={kind.deny} value={String(check[kind.text] ?? '')} placeholder="the usual sentence" wide set={(next) => change([...path, kind.text], next === '' ? undefined : next)} />
        <button class="quiet" onClick={() => change([...path, 'conditions', conditions.length], { path: 'args.', op: 'eq', value: '' })}>+ and…</button>
      </p>
    </div>
  )
}

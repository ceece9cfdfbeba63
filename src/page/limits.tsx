// Limits as sentences: `at most 3 calls in each day for each caller`.

import type { JSX } from 'preact'
import type { Path } from './document'
import { paths } from './complete'
import { TIMES, Times, WORKING_HOURS } from './hours'
import { list, operandText, record } from './policy'
import { use } from './store'
import { change, changeMembers, Choice, Field, lastOf, Remove, Rest } from './words'

const WINDOWS = ['second', 'minute', 'hour', 'day', 'week', 'month']
const SAID = new Set(['counter', 'window', 'max', 'concurrent', 'per', 'scope', 'increment', 'increment_from', 'algorithm', 'burst', 'on_deny', ...TIMES])

function windows(window: unknown): (readonly [string, string])[] {
  return [...new Set([...WINDOWS, String(window ?? 'day')])].map((each) => [each, each] as const)
}

/// A window that was chosen: seconds stay a number.
function windowOf(next: string): string | number {
  return /^\d+$/.test(next) ? Number(next) : next
}

/// The limits of an entry, or of all tools together.
export function Limits({ path, entry, tool }: { path: Path; entry: Record<string, unknown>; tool: string }): JSX.Element {
  const rate = entry['rate_limit']
  return (
    <>
      {typeof rate === 'string' && (
        <p class="sentence check">at most <Field label="Rate" value={rate} placeholder="60/minute" set={(next) => change([...path, 'rate_limit'], next)} /> for each caller
          <Remove label="Remove this rate" take={() => change([...path, 'rate_limit'], undefined)} /></p>
      )}
      {typeof rate === 'object' && rate !== null && (
        <p class="sentence check">at most <Field label="Most" value={operandText(record(rate)['max'])} narrow set={(next) => change([...path, 'rate_limit', 'max'], Number(next) || 0)} /> calls
          in each <Choice label="Window" value={String(record(rate)['window'] ?? '')} options={windows(record(rate)['window'])} set={(next) => change([...path, 'rate_limit', 'window'], windowOf(next))} /> for each caller
          <Remove label="Remove this rate" take={() => change([...path, 'rate_limit'], undefined)} /></p>
      )}
      {list(entry['limits']).map(record).map((limit, number) => <Limit key={number} path={[...path, 'limits', number]} limit={limit} tool={tool} />)}
    </>
  )
}

function Limit({ path, limit, tool }: { path: Path; limit: Record<string, unknown>; tool: string }): JSX.Element {
  const known = use((state) => state.tools.find((each) => each.name === tool))
  const keys = use((state) => state.checked?.keys)
  const counter = String(limit['counter'] ?? '')
  const of = `the limit ${counter}`
  const scopes = [['grant', 'each caller'], ['global', 'all callers together'], ['session', 'each session'], ['address', 'each address'], ...(keys ?? []).map((key) => [key, `each ${key}`] as const)] as const
  const isAtOnce = 'concurrent' in limit
  const amount = isAtOnce ? 'concurrent' : typeof limit['increment_from'] === 'string' ? limit['increment_from'] : limit['per'] === 'call' || limit['per'] === 'name' ? `per ${limit['per']}` : ''
  const increments = [...new Set([...paths(known), ...(amount.startsWith('args') ? [amount] : [])])].map((each) => [each, `of ${each}`] as const)
  const most = isAtOnce ? limit['concurrent'] : limit['max']
  const count = (next: string) => {
    const free = { per: undefined, increment_from: undefined, concurrent: undefined, window: limit['window'] ?? 'day', max: limit['max'] ?? limit['concurrent'] ?? 20 }
    if (next === 'concurrent') changeMembers(path, { per: undefined, increment_from: undefined, window: undefined, max: undefined, algorithm: undefined, burst: undefined, concurrent: most ?? 4 })
    else if (next.startsWith('per ')) changeMembers(path, { ...free, per: next.slice(4) })
    else changeMembers(path, { ...free, increment_from: next === '' ? undefined : next })
  }
  const number = (key: string, label: string) => <Field label={label} value={operandText(limit[key])} narrow set={(next) => change([...path, key], Number(next) || 0)} />
  return (
    <div class="check">
      <p class="sentence">
        at most {number(isAtOnce ? 'concurrent' : 'max', 'Most')}{' '}
        <Choice label="Of what" value={amount} options={[['', 'calls'], ['concurrent', 'calls at once'], ['per call', 'times the very same call'], ['per name', 'different tools'], ...increments]} set={count} />{' '}
        {!isAtOnce && <>in each <Choice label="Window" value={String(limit['window'] ?? '')} options={windows(limit['window'])} set={(next) => change([...path, 'window'], windowOf(next))} />{' '}</>}
        for <Choice label="Who counts together" value={String(limit['scope'] ?? 'grant')} options={scopes} set={(next) => change([...path, 'scope'], next === 'grant' ? undefined : next)} />, counted as{' '}
        <Field label="Counter" value={counter} set={(next) => change([...path, 'counter'], next)} />
        {!isAtOnce && <>{' '}<Choice label="How windows follow each other" value={String(limit['algorithm'] ?? 'fixed')} options={[['fixed', 'by the calendar'], ['sliding', 'sliding'], ['bucket', 'as a bucket']]} set={(next) => changeMembers(path, { algorithm: next === 'fixed' ? undefined : next, ...(next === 'bucket' ? {} : { burst: undefined }) })} /></>}
        {limit['algorithm'] === 'bucket' && <> of {number('burst', 'Size of the bucket')}</>}
        {'increment' in limit && <>, where each counts {number('increment', 'How much a call counts')}</>}
        <Remove label="Remove this limit" take={() => change(lastOf(path), undefined)} />
      </p>
      <Times path={path} value={limit} lead="it counts" of={of} />
      <p class="sentence small">
        Tell the agent then <Field label={`Tell the agent at ${of}`} value={String(limit['on_deny'] ?? '')} placeholder="the usual sentence" wide set={(next) => change([...path, 'on_deny'], next === '' ? undefined : next)} />
        {!TIMES.some((key) => key in limit) && <button class="quiet" onClick={() => change([...path, 'during'], WORKING_HOURS)}>+ only at…</button>}
      </p>
      <Rest value={limit} said={SAID} path={path} what="and also" />
    </div>
  )
}

/// The name of a new counter.
export function free(limits: unknown, first = 'calls'): string {
  const taken = list(limits).map((limit) => record(limit)['counter'])
  for (let number = 1; ; number += 1) {
    const name = number === 1 ? first : `${first}_${number}`
    if (!taken.includes(name)) return name
  }
}

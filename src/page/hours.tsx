// Hours, days and dates in sentences.

import type { JSX } from 'preact'
import type { Path } from './document'
import { record } from './policy'
import { change, changeMembers, Field, names, Remove } from './words'

/// What says when something holds, at an entry or a limit.
export const TIMES = ['during', 'not_before', 'not_after'] as const

/// With what a sentence about times begins.
export const WORKING_HOURS = { days: ['mon-fri'], hours: ['09:00-17:00'], timezone: 'UTC' }

const DAYS = ['mon-fri', 'sat-sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']
const HOURS = ['09:00-17:00', '08:00-18:00', '22:00-24:00, 00:00-06:00']

/// Zones by their names, for all sentences together.
export function Zones(): JSX.Element {
  return <datalist id="zones">{['UTC', ...Intl.supportedValuesOf('timeZone')].map((zone) => <option key={zone} value={zone} />)}</datalist>
}

/// `on mon-fri at 09:00-17:00 by the clock of UTC`
export function Hours({ path, value, of }: { path: Path; value: unknown; of: string }): JSX.Element {
  const hours = record(value)
  const shown = (key: string) => (Array.isArray(hours[key]) ? (hours[key] as unknown[]).join(', ') : '')
  const put = (key: string, next: unknown) => changeMembers(path, { [key]: next })
  const id = `h${path.join('-').replace(/\W/g, '_')}`
  return (
    <>
      on <Field label={`Days of ${of}`} value={shown('days')} placeholder="every day" options={DAYS} id={`${id}d`} set={(next) => put('days', names(next))} />{' '}
      at <Field label={`Hours of ${of}`} value={shown('hours')} placeholder="all hours" options={HOURS} id={`${id}h`} set={(next) => put('hours', names(next.replaceAll('–', '-')))} />{' '}
      by the clock of <Field label={`Time zone of ${of}`} value={String(hours['timezone'] ?? '')} placeholder="UTC" list="zones" set={(next) => put('timezone', next.trim() === '' ? undefined : next.trim())} />
    </>
  )
}

/// When an entry or a limit holds: hours, and from when until when.
/// With them goes what makes no sense without them.
export function Times({ path, value, lead, of, gone = [] }: { path: Path; value: Record<string, unknown>; lead: string; of: string; gone?: readonly string[] }): JSX.Element | null {
  if (!TIMES.some((key) => key in value)) return null
  const instantField = (key: 'not_before' | 'not_after', label: string, placeholder: string) => (
    <Field label={`${label} of ${of}`} value={String(value[key] ?? '')} placeholder={placeholder} set={(next) => change([...path, key], next.trim() === '' ? undefined : instant(next))} />
  )
  return (
    <p class="sentence check times">
      <span class="lead">{lead}</span>{' '}
      {'during' in value ? <Hours path={[...path, 'during']} value={value['during']} of={of} /> : <button class="quiet" onClick={() => change([...path, 'during'], WORKING_HOURS)}>+ at certain hours</button>}{' '}
      from {instantField('not_before', 'Beginning', 'the beginning')} until {instantField('not_after', 'End', 'further notice')}
      <Remove label={`Remove the times of ${of}`} take={() => changeMembers(path, Object.fromEntries([...TIMES, ...gone].map((key) => [key, undefined])))} />
    </p>
  )
}

/// A time as policies have it: a date is its first moment, and a time without an offset is one of UTC.
export function instant(text: string): string {
  const [, date, time, seconds = ':00', offset = 'Z'] = /^\s*(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d(?:\.\d+)?)?\s*(Z|[+-]\d\d:\d\d)?)?\s*$/i.exec(text) ?? []
  return date === undefined ? text.trim() : `${date}T${time ?? '00:00'}${seconds}${offset}`
}

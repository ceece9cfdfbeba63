// A policy as the form and the list of tools see it. It sorts and names; what becomes of a call is for the engine to say.

import { at } from './document'
import type { Tool } from './store'

export type Lane = 'allow' | 'limit' | 'approve' | 'deny' | 'hide' | 'custom' | 'none'

export const LANES: { id: Exclude<Lane, 'none'>; word: string; key: string; about: string }[] = [
  { id: 'allow', word: 'Allow', key: 'a', about: 'may be called' },
  { id: 'limit', word: 'Limit', key: 'l', about: 'may be called, so many times a minute' },
  { id: 'approve', word: 'Approve', key: 'p', about: 'a person is asked' },
  { id: 'deny', word: 'Deny', key: 'd', about: 'is refused' },
  { id: 'hide', word: 'Hide', key: 'h', about: 'is not there at all' },
  { id: 'custom', word: 'Custom', key: 'c', about: 'may be called on a condition that you write' },
]

export const LANE_WORDS: Record<Lane, string> = {
  allow: 'Allow', limit: 'Limit', approve: 'Approve', deny: 'Deny', hide: 'Hide', custom: 'Custom', none: 'Not listed',
}

export interface Standing {
  lane: Lane
  /// The key or glob that says so, where it is not the tool's own.
  by: string
}

export interface Entry {
  action?: string
  reason?: string
  mode?: string
  approval?: unknown
  require?: unknown
  deny_if?: unknown
  ask_if?: unknown
  limits?: unknown
  rate_limit?: unknown
  rules?: unknown
  [other: string]: unknown
}

export function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
}

export function list(value: unknown): unknown[] {
  return Array.isArray(value) ? (value as unknown[]) : []
}

/// Where a policy stands in a document.
export function rootOf(value: unknown, policy: string): string[] {
  const policies = record(at(value, ['policies']))
  const names = Object.keys(policies)
  if (names.length === 0) return []
  return ['policies', names.includes(policy) ? policy : names[0]!]
}

function laneOf(entry: Entry): Lane {
  if (entry.require || entry.deny_if || entry.ask_if || entry.rules) return 'custom'
  if (entry.action === 'deny') return 'deny'
  if (entry.action === 'require_approval') return 'approve'
  return entry.limits || entry.rate_limit ? 'limit' : 'allow'
}

export function globMatches(pattern: string, name: string): boolean {
  if (!/[*?]/.test(pattern)) return pattern === name
  const source = pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*').replaceAll('?', '.')
  return new RegExp(`^${source}$`, 'su').test(name)
}

/// Where each tool stands in a policy.
export function standings(policy: unknown, tools: readonly Tool[]): Map<string, Standing> {
  const entries = record(at(policy, ['tools'])) as Record<string, Entry | null>
  const hidden = list(at(policy, ['hide'])).filter((each) => typeof each === 'string')
  const globs = Object.keys(entries).filter((key) => /[*?]/.test(key))
  const found = new Map<string, Standing>()
  const exactlyHidden = new Set(hidden)
  const hiding = hidden.filter((each) => /[*?]/.test(each))
  for (const { name } of tools) {
    const hide = exactlyHidden.has(name) ? name : hiding.find((glob) => globMatches(glob, name))
    const own = entries[name]
    const glob = globs.find((each) => globMatches(each, name))
    if (hide !== undefined) found.set(name, { lane: 'hide', by: hide === name ? '' : hide })
    else if (own !== undefined) found.set(name, { lane: laneOf(own ?? {}), by: '' })
    else if (glob !== undefined) found.set(name, { lane: laneOf(entries[glob] ?? {}), by: glob })
    else found.set(name, { lane: 'none', by: '' })
  }
  return found
}

/// The entry of a tool that is moved to a lane; what it says beside that stays.
/// The first condition of a tool is on the argument that is named.
export function moved(entry: Entry | undefined, lane: Lane, argument: string): Entry {
  const { action: _, reason: __, approval: ___, rate_limit, limits, ...rest } = entry ?? {}
  switch (lane) {
    case 'allow': return Object.fromEntries(Object.entries(rest).filter(([key]) => !['require', 'deny_if', 'ask_if', 'rules'].includes(key)))
    case 'limit': return { ...rest, ...(limits ? { limits } : { rate_limit: rate_limit ?? '60/minute' }) }
    case 'approve': return { action: 'require_approval', approval: 'user', reason: 'A person has to approve this.', ...rest }
    case 'deny': return { action: 'deny', reason: 'This is not for an agent.', ...(rest.mode ? { mode: rest.mode } : {}) }
    case 'custom': return {
      ...rest, ...(limits ? { limits } : {}), ...(rate_limit ? { rate_limit } : {}),
      ...(laneOf(rest) === 'custom' ? {} : { require: [{ conditions: [{ path: argument, op: 'exists', value: true }] }] }),
    }
    case 'hide':
    case 'none': return entry ?? {}
  }
}

/// Operators as people say them; the words are the engine's.
export const OPERATORS: { op: string; words: string; takes: 'any' | 'number' | 'text' | 'list' | 'flag' | 'time' }[] = [
  { op: 'eq', words: 'is', takes: 'any' },
  { op: 'neq', words: 'is not', takes: 'any' },
  { op: 'in', words: 'is one of', takes: 'list' },
  { op: 'not_in', words: 'is none of', takes: 'list' },
  { op: 'lt', words: 'is less than', takes: 'number' },
  { op: 'lte', words: 'is at most', takes: 'number' },
  { op: 'gt', words: 'is more than', takes: 'number' },
  { op: 'gte', words: 'is at least', takes: 'number' },
  { op: 'starts_with', words: 'begins with', takes: 'text' },
  { op: 'ends_with', words: 'ends with', takes: 'text' },
  { op: 'contains', words: 'contains', takes: 'any' },
  { op: 'not_contains', words: 'does not contain', takes: 'any' },
  { op: 'glob', words: 'looks like', takes: 'text' },
  { op: 'regex', words: 'matches', takes: 'text' },
  { op: 'not_regex', words: 'does not match', takes: 'text' },
  { op: 'exists', words: 'is there', takes: 'flag' },
  { op: 'before', words: 'is before', takes: 'time' },
  { op: 'after', words: 'is after', takes: 'time' },
  { op: 'not_before', words: 'is not before', takes: 'time' },
  { op: 'not_after', words: 'is not after', takes: 'time' },
  { op: 'host_in', words: 'is a URL of', takes: 'list' },
  { op: 'not_host_in', words: 'is a URL of none of', takes: 'list' },
  { op: 'cidr', words: 'is an address in', takes: 'list' },
  { op: 'not_cidr', words: 'is an address in none of', takes: 'list' },
  { op: 'path_under', words: 'is a path below', takes: 'text' },
  { op: 'not_path_under', words: 'is not a path below', takes: 'text' },
]

/// What is written in a field, as the value of a condition.
export function operand(text: string, op: string): unknown {
  const takes = OPERATORS.find((each) => each.op === op)?.takes ?? 'any'
  const plain = (piece: string): unknown => {
    const trimmed = piece.trim()
    if (/^-?(0|[1-9]\d*)(\.\d+)?$/.test(trimmed)) return Number(trimmed)
    if (trimmed === 'true' || trimmed === 'false') return trimmed === 'true'
    if (/^(".*"|\{.*\})$/s.test(trimmed)) {
      try {
        return JSON.parse(trimmed) as unknown
      } catch {
        return trimmed
      }
    }
    return piece.trim()
  }
  switch (takes) {
    case 'list': return text.split(',').map(plain).filter((each) => each !== '')
    case 'text':
    case 'time': return text
    case 'flag': return text !== 'false'
    case 'number':
    case 'any': return plain(text)
  }
}

/// The same the other way.
export function operandText(value: unknown): string {
  if (Array.isArray(value)) return value.map(operandText).join(', ')
  // A text that would be read as something else stands in quotes.
  if (typeof value === 'string') return /^(-?\d[\d.]*|true|false)$/.test(value) ? JSON.stringify(value) : value
  return value === undefined ? '' : JSON.stringify(value)
}

// Cures of problems that one click brings about. What the engine says in words is what is done.

import type { Finding } from './engine'
import { at, pathAt, syntaxOf, valueOf, type Path } from './document'
import { edit, get, put, rename } from './store'

export interface Cure { label: string; apply(): void }

/// Problems whose cure is that the field is gone.
const LEAVE_OUT = new Set(['P004', 'P016', 'P102', 'P103', 'P106', 'P108', 'P111', 'P201'])

export function cures(finding: Finding): Cure[] {
  const { text } = get()
  const found: Cure[] = []
  const [from, to] = finding.at ?? [0, 0]
  const meant = /^did you mean `([^`]+)`/.exec(finding.help ?? '')?.[1]
  const path = finding.at ? pathAt(text, from) : []
  if (meant !== undefined && finding.at) {
    const isKey = finding.code === 'P004' || finding.code === 'P201' || finding.code === 'P018'
    found.push({
      label: `Write ${meant}`,
      apply: () => {
        if (isKey && path.length > 0 && finding.code !== 'P018') rename(path, meant)
        else put(text.slice(0, from) + text.slice(from, to).replace(/[^"'\s{}[\],]+/, () => meant) + text.slice(to))
      },
    })
  }
  const missing = finding.code === 'P006' ? /`(version|default)`/.exec(finding.message)?.[1] : undefined
  if (missing !== undefined) {
    const value = missing === 'version' ? '1' : 'deny'
    found.push({ label: `Add ${missing}: ${missing === 'version' ? '"1"' : value}`, apply: () => first(missing, value) })
  }
  if (finding.code === 'P005' && finding.at) found.push({ label: 'Take this one out', apply: () => put(withoutLine(text, from)) })
  if (LEAVE_OUT.has(finding.code) && path.length > 0 && at(valueOf(text), path) !== undefined) {
    found.push({ label: 'Leave it out', apply: () => edit(path as Path, undefined) })
  }
  return found
}

/// Puts a field before all others.
function first(key: string, value: string): void {
  const { text } = get()
  const line = `${key}: ${JSON.stringify(value)}`
  if (syntaxOf(text) === 'json') {
    const brace = text.indexOf('{') + 1
    const rest = text.slice(brace)
    put(`${text.slice(0, brace)}\n  ${JSON.stringify(key)}: ${JSON.stringify(value)}${rest.trimStart().startsWith('}') ? '\n' : ','}${rest}`)
  } else put(`${key === 'version' ? line : `${key}: ${value}`}\n${text}`)
}

function withoutLine(text: string, offset: number): string {
  const start = text.lastIndexOf('\n', offset - 1) + 1
  const end = text.indexOf('\n', offset)
  return text.slice(0, start) + (end < 0 ? '' : text.slice(end + 1))
}

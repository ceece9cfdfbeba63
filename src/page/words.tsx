// What sentences are made of: words that can be written over, and words that can be chosen. Each is a place in the text.

import { useState } from 'preact/hooks'
import type { ComponentChildren, JSX, TargetedEvent, TargetedKeyboardEvent } from 'preact'
import { at, rangeOf, type Path } from './document'
import { list } from './policy'
import { edit, editMembers, get, say, set } from './store'

/// Changes one value; nothing takes it out.
export function change(path: Path, value: unknown): void {
  try {
    edit(path, value)
  } catch (error) {
    say((error as Error).message)
  }
}

/// Changes several members of one mapping at once; those that are nothing go.
export function changeMembers(path: Path, members: Record<string, unknown>): void {
  try {
    editMembers(path, members)
  } catch (error) {
    say((error as Error).message)
  }
}

/// The only one of its list goes with the list.
export function lastOf(path: Path): Path {
  const parent = path.slice(0, -1)
  return list(at(get().value, parent)).length > 1 ? path : parent
}

/// Words with commas between them, as a list; nothing where there are none.
export function names(text: string): string[] | undefined {
  const found = text.split(',').map((each) => each.trim()).filter(Boolean)
  return found.length > 0 ? found : undefined
}

/// Shows a place in the text.
export function jump(path: Path): void {
  const range = rangeOf(get().text, path)
  set({ view: 'text', part: 'policy' })
  if (range) setTimeout(() => dispatchEvent(new CustomEvent('jump', { detail: range })), 60)
}

/// What there is beside what sentences say.
export function Rest({ value, said, path, what }: { value: Record<string, unknown>; said: ReadonlySet<string>; path: Path; what: string }): JSX.Element | null {
  const rest = Object.keys(value).filter((key) => !said.has(key) && key !== 'policies')
  if (rest.length === 0) return null
  return <p class="hint">{what} {rest.map((key, number) => <>{number > 0 ? ', ' : ''}<button class="link" onClick={() => jump([...path, key])}><code>{key}</code></button></>)}, in the text.</p>
}

export function Remove({ label, take }: { label: string; take(): void }): JSX.Element {
  return <button class="remove" aria-label={label} title="Remove" onClick={take}>×</button>
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
  /// A list of options that is somewhere else.
  list?: string
}

type InputEvent = TargetedEvent<HTMLInputElement>

interface LiveDraft { value: string; onInput(event: InputEvent): void; onBlur(): void }
interface Draft extends LiveDraft { onChange(event: InputEvent): void; onKeyDown(event: TargetedKeyboardEvent<HTMLInputElement>): void }

/// For an input whose text takes effect when it is left, or on Enter. The page is drawn anew whenever the engine has answered: what is being typed
/// stays as it is.
export function useDraft(value: string, take: (next: string) => void): Draft {
  const [draft, setDraft] = useState<string | null>(null)
  const done = (next: string) => {
    setDraft(null)
    if (next !== value) take(next)
  }
  return {
    value: draft ?? value,
    onInput: (event) => setDraft(event.currentTarget.value),
    onChange: (event) => done(event.currentTarget.value),
    onBlur: () => setDraft(null),
    onKeyDown: (event) => {
      if (event.key === 'Escape') setDraft(null)
      if (event.key === 'Enter') { event.preventDefault(); done(event.currentTarget.value) }
    },
  }
}

/// For an input whose text takes effect with each key. What it stands for may be written otherwise: that is shown when it is left.
export function useLiveDraft(value: string, take: (next: string) => void): LiveDraft {
  const [draft, setDraft] = useState<string | null>(null)
  return {
    value: draft ?? value,
    onInput: (event) => {
      setDraft(event.currentTarget.value)
      take(event.currentTarget.value)
    },
    onBlur: () => setDraft(null),
  }
}

/// A word in a sentence that can be written over.
export function Field({ label, value, set: take, placeholder = '', wide = false, narrow = false, strong = false, options, id, list: shared }: FieldProps): JSX.Element {
  const draft = useDraft(value, take)
  return (
    <>
      <input type="text" class={`field${strong ? ' strong' : ''}`} aria-label={label} {...draft} placeholder={placeholder} spellcheck={false}
        size={wide ? Math.max(24, Math.min(56, value.length + 2)) : narrow ? Math.max(4, value.length + 1) : Math.max(6, Math.min(48, (value || placeholder).length + 1))}
        {...(shared ? { list: shared } : options && options.length > 0 && id ? { list: id } : {})} />
      {options && options.length > 0 && id && <datalist id={id}>{options.map((each) => <option key={each} value={each} />)}</datalist>}
    </>
  )
}

export function Choice({ label, value, options, set: take }: { label: string; value: string; options: readonly (readonly [string, ComponentChildren])[]; set(next: string): void }): JSX.Element {
  const known = options.some(([each]) => each === value) ? options : [...options, [value, value] as const]
  return (
    <select class="choice" aria-label={label} value={value} onChange={(event) => take(event.currentTarget.value)}>
      {known.map(([each, words]) => <option key={each} value={each}>{words}</option>)}
    </select>
  )
}

// The policy itself: one document, seen as a form or as text.

import { useEffect, useRef, useState } from 'preact/hooks'
import type { JSX } from 'preact'
import type { Diagnostic } from '@codemirror/lint'
import { complete } from './complete'
import { cures } from './cures'
import { rangeOf, syntaxOf, valueOf, written } from './document'
import { TextEditor, type Light } from './editor'
import { CATALOGUE, EXAMPLES, ofCatalogue, type Example } from './examples'
import { download } from './file'
import { Form } from './form'
import { rootOf } from './policy'
import { remember } from './share'
import { kindOf } from './try'
import { jump, useDraft } from './words'
import { NO_CALL, changes, get, put, runTests, say, set, setText, setTools, settles, use, withEnding } from './store'

export function Middle(): JSX.Element {
  const view = use((state) => state.view)
  const isEmpty = use((state) => state.text.trim() === '')
  return (
    <section class="pane policy" id="policy" aria-labelledby="policy-title">
      <Head />
      {isEmpty && view === 'form' ? <Start /> : view === 'form' ? <div class="scroll"><Form /></div> : null}
      <Text hidden={view !== 'text'} />
      <Problems />
    </section>
  )
}

function Head(): JSX.Element {
  const view = use((state) => state.view)
  const text = use((state) => state.text)
  const name = use((state) => state.name)
  const file = use((state) => state.file)
  const syntax = syntaxOf(text)
  const isEmpty = text.trim() === ''
  const fileName = useDraft(isEmpty ? name : withEnding(name, text), (next) => set({ name: next }))
  const convert = () => {
    const value = valueOf(text)
    if (value === undefined) return say('the text cannot be read; mend it first')
    put(syntax === 'json' ? `${written(value)}\n` : `${JSON.stringify(value, null, 2)}\n`)
    say(syntax === 'json' ? 'now YAML' : 'now JSON, which has no comments')
  }
  return (
    <header>
      <h2 id="policy-title">Policy</h2>
      <label class="grow"><span class="unseen">Name of the file</span><input type="text" class="file-name" {...fileName} disabled={file !== ''} spellcheck={false} /></label>
      <div class="switch" role="group" aria-label="View">
        <button aria-pressed={view === 'form'} onClick={() => set({ view: 'form' })}>Form</button>
        <button aria-pressed={view === 'text'} onClick={() => set({ view: 'text' })}>Text</button>
      </div>
      <button class="quiet" disabled={isEmpty} onClick={convert} title={syntax === 'json' ? 'Write it as YAML' : 'Write it as JSON; comments are lost'}>as {syntax === 'json' ? 'YAML' : 'JSON'}</button>
      <Save />
    </header>
  )
}

function Save(): JSX.Element {
  const file = use((state) => state.file)
  const text = use((state) => state.text)
  const saved = use((state) => state.saved)
  const name = use((state) => state.name)
  if (file === '') return <button class="quiet" disabled={text.trim() === ''} onClick={() => download(withEnding(name, text), text)}>Save</button>
  return <button class="main" disabled={text === saved} onClick={() => dispatchEvent(new Event('save'))}>Save to {file}</button>
}

let opening = 0

/// Takes an example, or a policy of the catalogue.
export async function open(example: Example): Promise<void> {
  const own = ++opening
  set({ name: example.name, tools: [], judged: new Map(), tests: example.tests, tested: null, call: { ...NO_CALL, ...example.call }, history: [], view: 'form' })
  put(example.text)
  if (example.tools.length > 0) await setTools(JSON.stringify({ tools: example.tools }))
  // Somebody has opened another one meanwhile.
  if (own !== opening) return
  await runTests()
  say(`opened ${example.name}`)
}

export async function openServer(name: string): Promise<void> {
  const found = await ofCatalogue(name)
  if (found) await open(found)
}

/// Where nothing is there yet.
function Start(): JSX.Element {
  return (
    <div class="start scroll">
      <h3>What may this agent do?</h3>
      <p>A policy says which tools of an MCP server an agent may call, with which arguments, and how often. This page runs the engine that decides it, in your browser. Nothing leaves your machine.</p>
      <ol>
        <li><b>Tools.</b> Paste the answer to <code>tools/list</code> on the left. The page says what each tool can do; you say what shall become of it.</li>
        <li><b>Sentences.</b> They appear here. “<i>create_refund</i> may be called, only if <i>args.amount</i> is at most <i>10000</i>.” The text behind them is yours too.</li>
        <li><b>Try it.</b> On the right you see at once what becomes of a call, and why. Keep it as a test.</li>
      </ol>
      <h3>Or look at one</h3>
      <div class="cards">
        {EXAMPLES.map((example) => <button key={example.name} class="card" onClick={() => void open(example)}><b>{example.name}</b><span>{example.about}</span></button>)}
        <button class="card" onClick={() => put('version: "1"\ndefault: deny\ntools: {}\n')}><b>empty</b><span>Nothing is allowed, to begin with.</span></button>
      </div>
      <h3>For servers that many use</h3>
      <div class="cards small">{CATALOGUE.map((example) => <button key={example.name} class="card" onClick={() => void openServer(example.name)} title={example.about}><b>{example.name}</b></button>)}</div>
    </div>
  )
}

function Text({ hidden }: { hidden: boolean }): JSX.Element {
  const host = useRef<HTMLDivElement>(null)
  const editor = useRef<TextEditor | null>(null)
  const text = use((state) => state.text)
  const checked = use((state) => state.checked)
  const tried = use((state) => state.tried)
  const tested = use((state) => state.tested)
  useEffect(() => {
    if (!host.current) return
    const made = new TextEditor(host.current, get().text, { label: 'Text of the policy', changed: typed, complete })
    editor.current = made
    // Nobody sees it: it is drawn when somebody does.
    const follow = () => { if (get().view === 'text') made.show(get().text) }
    changes.add(follow)
    settles.add(settle)
    const go = (event: Event) => made.go(...(event as CustomEvent<[number, number]>).detail)
    addEventListener('jump', go)
    return () => {
      changes.delete(follow)
      settles.delete(settle)
      removeEventListener('jump', go)
      made.destroy()
    }
  }, [])
  // First of all effects, so that the others find the text that they are about.
  useEffect(() => { if (!hidden) editor.current?.show(get().text) }, [hidden])
  useEffect(() => hidden ? undefined : editor.current?.diagnose((checked?.problems ?? []).map((problem): Diagnostic => ({
    from: problem.at?.[0] ?? 0,
    to: problem.at?.[1] ?? 0,
    severity: problem.severity,
    source: problem.code,
    message: `${problem.message}${problem.help ? `\n${problem.help}` : ''}`,
    actions: cures(problem).map(({ label, apply }) => ({ name: label, apply })),
  }))), [checked, hidden])
  useEffect(() => {
    if (hidden) return
    const answer = tried?.answer
    const root = rootOf(get().value, answer?.governed_by ?? get().call.policy)
    const lights = Object.entries(tried?.marks ?? {}).flatMap(([pointer, [first, last]]): Light[] => {
      const steps = pointer.slice(1).split('/').map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
      const [from, to] = rangeOf(text, [...root, ...steps.map((step) => (/^\d+$/.test(step) ? Number(step) : step))]) ?? [first, last]
      const rules = answer?.rules.filter((rule) => rule.rule === pointer) ?? []
      if (pointer === answer?.rule) return [{ from, to, kind: kindOf(answer.decision) === 'allow' ? 'ask' : kindOf(answer.decision) }]
      return rules.length > 0 && rules.every((rule) => !rule.denies && rule.kind !== 'entry') && steps.length > 2 ? [{ from, to, kind: 'allow' }] : []
    })
    editor.current?.light(lights)
  }, [tried, text, hidden])
  useEffect(() => hidden ? undefined : editor.current?.uncover((tested?.answer?.coverage.missing ?? []).flatMap(({ line }) => (line === null ? [] : [line]))), [tested, hidden])
  return <div class="editor-host" ref={host} hidden={hidden} onFocusOut={settle} />
}

let waiting = 0
let latest: string | null = null

/// What is typed is looked at when the hand rests, so that no key waits for a large policy.
function typed(text: string): void {
  clearTimeout(waiting)
  latest = text
  const wait = Math.min(300, get().took)
  if (wait < 12) settle()
  else waiting = window.setTimeout(settle, wait)
}

/// Looks at what was typed, now: somebody wants to change it.
function settle(): void {
  clearTimeout(waiting)
  const text = latest
  latest = null
  if (text !== null) setText(text)
}

function goTo(place: [number, number] | undefined): void {
  set({ view: 'text' })
  if (place) setTimeout(() => dispatchEvent(new CustomEvent('jump', { detail: place })), 60)
}

function Problems(): JSX.Element | null {
  const checked = use((state) => state.checked)
  const [opened, setOpen] = useState<boolean | null>(null)
  if (!checked) return null
  const errors = checked.problems.filter((problem) => problem.severity === 'error').length
  const warnings = checked.problems.length - errors
  // What stops everything is shown; what is only advice waits until it is asked for.
  const open = opened ?? errors > 0
  const counted = [errors > 0 ? `${errors} ${errors === 1 ? 'error' : 'errors'}` : '', warnings > 0 ? `${warnings} ${warnings === 1 ? 'warning' : 'warnings'}` : ''].filter(Boolean).join(', ')
  return (
    <footer class={`problems ${errors > 0 ? 'deny' : warnings > 0 ? 'ask' : 'allow'}`}>
      <p role="status"><b>{checked.valid ? 'Valid' : 'Not valid'}</b>{counted && `: ${counted}`}
        {checked.problems.length > 0 && <button class="quiet" aria-expanded={open} onClick={() => setOpen(!open)}>{open ? 'hide' : 'show'}</button>}</p>
      {open && checked.problems.length > 0 && (
        <ul>
          {checked.problems.slice(0, 50).map((problem, number) => (
            <li key={number} class={problem.severity}>
              <button class="link" onClick={() => goTo(problem.at)}>
                {problem.code}{problem.line !== null && `, line ${problem.line}`}</button>{' '}
              {problem.message}{problem.help && <i>; {problem.help}</i>}
              {cures(problem).map(({ label, apply }) => <button key={label} class="cure" onClick={apply}>{label}</button>)}
            </li>
          ))}
        </ul>
      )}
    </footer>
  )
}

export function Share(): JSX.Element {
  const share = async () => {
    const kept = await remember()
    if (kept === 'nothing') return say('too long for an address: save the file instead')
    try {
      await navigator.clipboard.writeText(location.href)
      say(kept === 'all' ? 'the address is copied; it holds everything' : 'the address is copied, without the tools')
    } catch {
      say('the address above holds everything')
    }
  }
  return <button onClick={() => void share()} title="Everything is in the address, behind #: it is sent to nobody but to whom you give it">Share</button>
}

export { jump }

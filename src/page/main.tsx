// The page.

import { render, type JSX } from 'preact'
import { useEffect } from 'preact/hooks'
import { Below } from './below'
import { valueOf } from './document'
import { Engine, Trouble, unpacked } from './engine'
import { CATALOGUE, EXAMPLES } from './examples'
import { Middle, Share, open, openServer } from './middle'
import { prepareSecond } from './second'
import { saveBack, served } from './served'
import { bytesOf, recall, remember } from './share'
import { NO_CALL, changes, get, listen, set, setTools, check, use, runTests, type State } from './store'
import { Tools } from './tools'
import { Try } from './try'

const PARTS: [State['part'], string][] = [['tools', 'Tools'], ['policy', 'Policy'], ['try', 'Try it'], ['more', 'Tests']]

function Page(): JSX.Element {
  const part = use((state) => state.part)
  const said = use((state) => state.said)
  const failed = use((state) => state.failed)
  useEffect(() => {
    if (said === '') return
    const timer = setTimeout(() => set({ said: '' }), 6000)
    return () => clearTimeout(timer)
  }, [said])
  return (
    <div class="page" data-part={part}>
      <header class="top">
        <h1><a href="https://github.com/mcp-policy/mcp-policy" rel="noreferrer">mcp-policy</a></h1>
        <p>What may this agent do? <span>The engine runs here; nothing leaves this machine.</span></p>
        <Examples />
        <Share />
      </header>
      <nav class="parts" aria-label="Parts of the page">
        {PARTS.map(([id, word]) => <button key={id} aria-current={part === id ? 'true' : 'false'} onClick={() => set({ part: id })}>{word}</button>)}
      </nav>
      {failed !== '' && <p class="problem" role="alert">{failed} <button onClick={() => set({ failed: '' })}>Close</button></p>}
      <main>
        <Tools />
        <Middle />
        <Try />
        <Below />
      </main>
      <p class="said" role="status" aria-live="polite">{said}</p>
    </div>
  )
}

function Examples(): JSX.Element {
  const file = use((state) => state.file)
  if (file !== '') return <></>
  const pick = (name: string) => {
    const example = EXAMPLES.find((each) => each.name === name)
    if (example) open(example)
    else if (name !== 'nothing') void openServer(name)
    else {
      set({ tools: [], judged: new Map(), tests: '', tested: null, call: NO_CALL, text: '', value: undefined, checked: null, tried: null, seen: null, history: [], view: 'form', name: 'policy' })
      for (const changed of changes) changed({ from: 0, to: 0, insert: '' })
    }
  }
  return (
    <label><span class="unseen">Open</span>
      <select value="" onChange={(event) => { pick(event.currentTarget.value); event.currentTarget.value = '' }}>
        <option value="">Open…</option>
        <option value="nothing">nothing: begin anew</option>
        <optgroup label="Examples">{EXAMPLES.map((example) => <option key={example.name} value={example.name}>{example.name}</option>)}</optgroup>
        <optgroup label="For servers that many use">{CATALOGUE.map((example) => <option key={example.name} value={example.name}>{example.name}</option>)}</optgroup>
      </select>
    </label>
  )
}

async function start(): Promise<void> {
  const bytes = await unpacked(bytesOf(document.getElementById('engine')?.textContent?.trim() ?? ''))
  set({ engine: await Engine.start(bytes) })
  const shared = (await served()) ?? (await recall())
  if (shared) {
    set({ text: shared.text, value: valueOf(shared.text), tests: shared.tests ?? '', view: shared.view ?? 'form', call: { ...NO_CALL, ...shared.call } })
    if (shared.tools && shared.tools.length > 0) setTools(JSON.stringify(shared.tools))
    if (shared.call) set({ call: { ...NO_CALL, ...shared.call } })
    check()
    if (shared.tests) runTests()
  }
  const host = document.getElementById('page')
  if (host) {
    host.textContent = ''
    render(<Page />, host)
  }
  void prepareSecond(bytes).catch(failed)
  let timer = 0
  let before = get()
  listen(() => {
    const now = get()
    if (now.text === before.text && now.tests === before.tests && now.tools === before.tools && now.call === before.call && now.view === before.view) return
    before = now
    clearTimeout(timer)
    timer = window.setTimeout(() => void remember(), 400)
  })
  addEventListener('save', () => void saveBack())
  document.documentElement.dataset['ready'] = String(Math.round(performance.now()))
}

/// What failed is said, wherever it failed.
function failed(error: unknown): void {
  const text = error instanceof Trouble ? error.message : `The page has a fault: ${String(error)}`
  set({ failed: text })
  const boot = document.querySelector('.boot')
  if (boot) boot.textContent = text
}

addEventListener('error', (event) => failed(event.error ?? event.message))
addEventListener('unhandledrejection', (event) => failed(event.reason))
start().catch(failed)

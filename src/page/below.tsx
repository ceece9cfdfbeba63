// Below the policy: its tests, attacks on it, what a change of it changes, and taking it away.

import { useEffect, useRef, useState } from 'preact/hooks'
import type { JSX } from 'preact'
import { attacks, knownAttacks, type Attacked, type Case } from './attacks'
import { compared, type Comparison } from './compare'
import { syntaxOf, valueOf } from './document'
import { TextEditor } from './editor'
import { rendered } from './served'
import { kindOf } from './try'
import { get, runTests, say, set, use, withEnding } from './store'

const TABS = [['tests', 'Tests'], ['attacks', 'Attacks'], ['compare', 'Compare'], ['deploy', 'Deploy']] as const

export function Below(): JSX.Element {
  const below = use((state) => state.below)
  const pick = (at: number) => {
    const next = TABS[(at + TABS.length) % TABS.length]
    if (next) {
      set({ below: next[0] })
      document.getElementById(`tab-${next[0]}`)?.focus()
    }
  }
  return (
    <section class="pane below" id="more" aria-label="Tests, attacks, comparison, deployment">
      <div class="tabs" role="tablist" aria-label="What to do with the policy">
        {TABS.map(([id, word], number) => (
          <button key={id} id={`tab-${id}`} role="tab" aria-selected={below === id} aria-controls="below-panel" tabIndex={below === id ? 0 : -1} onClick={() => set({ below: id })}
            onKeyDown={(event) => {
              if (event.key === 'ArrowRight') pick(number + 1)
              if (event.key === 'ArrowLeft') pick(number - 1)
            }}>{word}</button>
        ))}
      </div>
      <div id="below-panel" role="tabpanel" aria-labelledby={`tab-${below}`} tabIndex={0}>
        {below === 'tests' && <Tests />}
        {below === 'attacks' && <Attacks />}
        {below === 'compare' && <Compare />}
        {below === 'deploy' && <Deploy />}
      </div>
    </section>
  )
}

function Tests(): JSX.Element {
  const host = useRef<HTMLDivElement>(null)
  const editor = useRef<TextEditor | null>(null)
  const tests = use((state) => state.tests)
  const tested = use((state) => state.tested)
  useEffect(() => {
    if (!host.current) return
    const made = new TextEditor(host.current, get().tests, { label: 'Tests of the policy', changed: (text) => set({ tests: text }) })
    editor.current = made
    return () => made.destroy()
  }, [])
  // What is typed goes to the state at once, so the editor is never behind it.
  useEffect(() => editor.current?.show(get().tests), [tests])
  useEffect(() => {
    editor.current?.diagnose((tested?.problems ?? []).map((problem) => ({
      from: problem.at?.[0] ?? 0, to: problem.at?.[1] ?? 0, severity: problem.severity, message: `${problem.message}${problem.help ? `; ${problem.help}` : ''}`,
    })))
  }, [tested])
  const answer = tested?.answer
  const failed = answer?.tests.filter((test) => !test.passed) ?? []
  return (
    <div class="split">
      <div class="editor-host" ref={host} />
      <div class="results">
        <div class="row">
          <button class="main" disabled={tests.trim() === ''} onClick={runTests}>Run the tests</button>
          <button class="quiet" disabled={tests.trim() === ''} onClick={() => download(beside(), tests)}>Save {beside()}</button>
        </div>
        {tests.trim() === '' && <p class="hint">A test is a call and what must become of it. Try a call, then “Keep as a test”: the policy can be changed without fear afterwards. <code>mcp-policy test</code> runs the same file.</p>}
        {tested && !answer && <p class="problem">{tested.problems.length} problems in the tests: {tested.problems[0]?.message}</p>}
        {answer && (
          <>
            <p class={`verdict ${failed.length === 0 ? 'allow' : 'deny'}`} data-tests={answer.tests.length} data-failed={failed.length}><b>{failed.length === 0 ? `${answer.tests.length} passed` : `${failed.length} of ${answer.tests.length} failed`}</b></p>
            <p>{answer.coverage.covered} of {answer.coverage.rules} rules covered ({answer.coverage.percent} %)
              <progress max={100} value={answer.coverage.percent} aria-label="Rules that tests cover" /></p>
            {failed.map((test) => test.failures.map((failure, number) => (
              <p key={`${test.name}${number}`} class="problem"><b>{test.name}</b>: expected {failure.expected}; found {failure.found}</p>
            )))}
            {answer.coverage.missing.length > 0 && <details><summary>{answer.coverage.missing.length} rules without a test (○ in the text)</summary>
              <ul>{answer.coverage.missing.slice(0, 100).map((missing) => <li key={`${missing.policy}${missing.rule}`}><code>{missing.rule}</code>{missing.line !== null && `, line ${missing.line}`}</li>)}</ul></details>}
          </>
        )}
      </div>
    </div>
  )
}

function beside(): string {
  const { name, text, tests } = get()
  return withEnding(name, text).replace(/\.\w+$/, `.test.${tests.trim() === '' ? 'yaml' : syntaxOf(tests)}`)
}

function Attacks(): JSX.Element {
  const text = use((state) => state.text)
  const checked = use((state) => state.checked)
  const call = use((state) => state.call)
  const isReady = use((state) => state.second)
  const [own, setOwn] = useState<Attacked[]>([])
  const [known, setKnown] = useState<Case[]>([])
  useEffect(() => setOwn(attacks()), [text, checked, call])
  useEffect(() => setKnown(knownAttacks()), [text, checked, isReady])
  const played = [...own, ...known.filter((each) => each.played)]
  const through = played.filter((each) => each.through).length
  if (own.length + known.length === 0) return <p class="hint">Attacks are sent through the engine as an agent would send them. Some are made out of the call that is tried: name a tool in “Try it”, with arguments.</p>
  return (
    <>
      <p class={`verdict ${through === 0 ? 'allow' : 'deny'}`}><b>{through === 0 ? `${played.length} attacks, none gets further than it may` : `${through} of ${played.length} attacks get through`}</b></p>
      {known.length > 0 && (
        <>
          <h3>What has happened elsewhere</h3>
          <ul class="attacks">{known.map((each) => <KnownAttack key={each.attack.name} found={each} />)}</ul>
        </>
      )}
      {own.length > 0 && <h3>The call that is tried, in disguise</h3>}
      <ul class="attacks">
        {own.map((each) => (
          <li key={each.name} class={each.through ? 'deny' : 'allow'}>
            <span class="mark">{each.through ? 'gets through' : 'stopped'}</span> {each.name}: <code>{each.decision}{each.reason && ` ${each.reason}`}</code>
            <details><summary>the message</summary><code>{each.body}</code></details>
          </li>
        ))}
      </ul>
    </>
  )
}

function KnownAttack({ found: { attack, sent, through, played, unknown } }: { found: Case }): JSX.Element {
  return (
    <li class={!played ? 'ask' : through ? 'deny' : 'allow'} data-attack={attack.name} data-through={through} data-played={played}>
      <span class="mark">{!played ? 'not played' : through ? 'gets through' : unknown ? 'not allowed' : 'stopped'}</span> <b>{attack.title}.</b> {attack.line}
      <details><summary>more</summary>
        <p>{attack.what}</p>
        {!played && <p class="hint">It needs a server that answers, which this page has not; the tests of the repository play it on a real Envoy.</p>}
        <ul>{sent.map((each, number) => <li key={number}><code>{each.call}</code>: {each.decision}{each.reason && `, ${each.reason}`}{each.wanted && ' (an honest call)'}</li>)}</ul>
        <p>This policy stops it:</p>
        <pre class="command" tabIndex={0}>{attack.policy}</pre>
        {attack.beyond && <p>What it does not stop: {attack.beyond}</p>}
        {attack.incidents.map((incident) => <p key={incident.what}>{incident.when}: {incident.what} {incident.source && <a href={incident.source} target="_blank" rel="noreferrer">source</a>}</p>)}
      </details>
    </li>
  )
}

function Compare(): JSX.Element {
  const old = use((state) => state.old)
  const log = use((state) => state.log)
  const checked = use((state) => state.checked)
  const text = use((state) => state.text)
  const isReady = use((state) => state.second)
  const [found, setFound] = useState<Comparison | string | null>(null)
  useEffect(() => setFound(old.trim() === '' && log.trim() === '' ? null : compared(old, log)), [old, log, text, checked, isReady])
  return (
    <div class="split">
      <div class="inputs">
        <label>The old policy
          <textarea rows={4} spellcheck={false} value={old} placeholder="Paste it, or take the present one and then change it" onInput={(event) => set({ old: event.currentTarget.value })} />
        </label>
        <p class="row"><button onClick={() => set({ old: get().text })}>Take the present one</button><button class="quiet" disabled={old === '' && log === ''} onClick={() => set({ old: '', log: '' })}>Nothing</button></p>
        <label>A log: audit lines, or calls that were recorded otherwise
          <textarea rows={4} spellcheck={false} value={log} placeholder={'{"audit":1,"time":"2026-01-05T09:00:00Z","tool":"search","decision":"allow",…}'} onInput={(event) => set({ log: event.currentTarget.value })} />
        </label>
      </div>
      <div class="results">
        {found === null && <p class="hint">Every call of the tests, one call of each tool, and all calls of the log go through both policies. What is decided otherwise is shown. With a log alone, it is compared with what was decided then. <code>mcp-policy replay</code> does it for logs of any length.</p>}
        {typeof found === 'string' && <p class="problem">{found}</p>}
        {found !== null && typeof found !== 'string' && (
          <>
            <p class={`verdict ${found.rows.length === 0 ? 'allow' : 'ask'}`} data-differences={found.rows.length}><b>{found.rows.reduce((sum, row) => sum + row.times, 0)} of {found.calls} calls are decided otherwise</b></p>
            {found.left > 0 && <p class="hint">{found.left} more calls were not tried: it would take too long here.</p>}
            {found.unread > 0 && <p class="hint">{found.unread} lines of the log hold no call of a tool.</p>}
            <ul class="attacks">{found.rows.slice(0, 300).map((row, number) => (
              <li key={number} class={kindOf(row.new)}>{row.times > 1 && `${row.times} × `}<b>{row.call}</b> {row.by && `by ${row.by}`}: <code>{row.old}</code> → <code>{row.new}</code> {row.reason}</li>
            ))}</ul>
          </>
        )}
      </div>
    </div>
  )
}

function Deploy(): JSX.Element {
  const text = use((state) => state.text)
  const valid = use((state) => state.checked?.valid ?? false)
  const [target, setTarget] = useState('envoy')
  const [whole, setWhole] = useState('')
  // The command behind the page, if there is one, writes the file itself.
  useEffect(() => {
    let isLatest = true
    const take = (file: string) => { if (isLatest) setWhole(file) }
    if (valid) rendered(target).then((file) => take(file ?? ''), (error: unknown) => take((error as Error).message))
    else take('')
    return () => { isLatest = false }
  }, [text, target, valid])
  const file = withEnding(get().name, text || '{}')
  const json = valid ? `${JSON.stringify(valueOf(text), null, 2)}\n` : ''
  const lines: Record<string, string> = {
    envoy: `mcp-policy render ${file} --for envoy --upstream 127.0.0.1:8000 --output envoy.yaml`,
    'istio-envoyfilter': `mcp-policy render ${file} --for istio-envoyfilter --namespace mcp --app my-server --port 8000 | kubectl apply -f -`,
    'istio-wasmplugin': `mcp-policy render ${file} --for istio-wasmplugin --namespace mcp --app my-server --port 8000 | kubectl apply -f -`,
    json: `mcp-policy render ${file} --for json`,
  }
  return (
    <div class="split">
      <div>
        <p class="row"><button class="main" disabled={!valid} onClick={() => download(file, text)}>Save {file}</button>
          <button disabled={!valid} onClick={() => download(file.replace(/\.\w+$/, '.json'), json)}>Save as JSON, for the filter</button></p>
        <p class="hint">The filter reads JSON. Comments stay in the YAML.</p>
      </div>
      <div>
        <label>Where it shall run
          <select value={target} onChange={(event) => setTarget(event.currentTarget.value)}><option value="envoy">Envoy</option><option value="istio-envoyfilter">Istio, as an EnvoyFilter</option><option value="istio-wasmplugin">Istio, as a WasmPlugin</option><option value="json">the JSON alone</option></select>
        </label>
        {whole === '' && <p>The command writes the whole file around it:</p>}
        <pre class="command" tabIndex={0}>{whole || lines[target]}</pre>
        <button class="quiet" onClick={() => void navigator.clipboard.writeText(whole || (lines[target] ?? '')).then(() => say('copied'))}>Copy</button>
        {whole !== '' && <button class="quiet" onClick={() => download(`${target}.${target === 'json' ? 'json' : 'yaml'}`, whole)}>Save</button>}
      </div>
    </div>
  )
}

/// Hands a file to the browser.
export function download(name: string, text: string): void {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob([text], { type: 'text/plain' }))
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
}

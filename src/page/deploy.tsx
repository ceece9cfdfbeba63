// The deployment file: what `mcp-policy render` writes, by the same code and the same options.

import { useEffect, useState } from 'preact/hooks'
import type { JSX } from 'preact'
import type { Rendered } from './engine'
import { download } from './file'
import { get, say, set, use, withEnding } from './store'
import { useLiveDraft } from './words'

interface Field { option: string; label: string; placeholder?: string; about?: string }

const NAME: Field = { option: 'name', label: 'Name', placeholder: 'after the file', about: 'Names the deployment, and with it the scope of its counters: keep it, and they go on.' }
const ENVOY_WASM: Field = { option: 'wasm', label: 'Filter', placeholder: 'target/mcp_policy.wasm', about: 'The file of the filter, where Envoy finds it.' }
const ISTIO: Field[] = [
  { option: 'namespace', label: 'Namespace', placeholder: 'required', about: 'That of the MCP server.' },
  { option: 'app', label: 'App', placeholder: 'required', about: 'The `app` label of the MCP server’s pods.' },
  { option: 'port', label: 'Port', about: 'On which the MCP server listens.' },
  { option: 'wasm', label: 'Filter', placeholder: 'oci://…', about: 'The address of the filter.' },
]
const SERVICE: Field = { option: 'service', label: 'Service', placeholder: 'in place of App', about: 'Ambient mode: the Service of the MCP server, on whose waypoint the plugin runs.' }

const ENVOY_MODULE: Field = { option: 'module', label: 'Native module', placeholder: 'target/libmcp_policy.so', about: 'A file that Envoy loads. Built for one minor version of Envoy and one architecture.' }
const ENVOY_MORE: Field[] = [
  NAME,
  { option: 'admin', label: 'Admin interface', about: 'Where Envoy’s own interface listens.' },
  { option: 'ca', label: 'Authorities', about: 'The file with those that may vouch for a server behind https://.' },
  { option: 'live', label: 'Watched folder', placeholder: 'none', about: 'Envoy watches it for the filter, so that a policy changes without a restart. The file “envoy-filter” belongs into it.' },
]
const ENVOY_PLACES: Field[] = [
  { option: 'upstream', label: 'MCP server', about: 'Host and port, or a URL. With https:// it is spoken to over TLS.' },
  { option: 'listen', label: 'Agents connect to', about: 'Where Envoy listens.' },
]

/// What can be said of each file: at once, and for who asks for more.
const FIELDS: Record<string, { first: Field[]; more: Field[] }> = {
  envoy: { first: [...ENVOY_PLACES, ENVOY_WASM], more: ENVOY_MORE },
  'envoy-module': { first: [...ENVOY_PLACES, ENVOY_MODULE], more: ENVOY_MORE },
  'envoy-filter': { first: [ENVOY_WASM], more: [NAME] },
  'istio-envoyfilter': { first: ISTIO, more: [NAME] },
  'istio-wasmplugin': { first: [...ISTIO, SERVICE], more: [NAME] },
  json: { first: [], more: [NAME] },
  limitador: { first: [], more: [NAME] },
  ratelimit: { first: [], more: [NAME] },
}

const WORDS: Record<string, string> = {
  envoy: 'Envoy', 'envoy-module': 'Envoy: native module', 'envoy-filter': 'Envoy: the filter alone', 'istio-envoyfilter': 'Istio: EnvoyFilter', 'istio-wasmplugin': 'Istio: WasmPlugin', json: 'JSON for the filter', limitador: 'Limitador: limits', ratelimit: 'ratelimit: limits',
}

const SWITCHES = [['', 'the policy, as it is'], ['shadow', 'shadow: only record'], ['stop', 'stop: let nothing through'], ['off', 'off: take the filter out']] as const

/// Longer files are shown in part; they are copied and saved whole.
const LONGEST = 200_000

export function Deploy(): JSX.Element {
  const checked = use((state) => state.checked)
  const valid = checked?.valid ?? false
  const text = use((state) => state.text)
  const name = use((state) => state.name)
  const offered = use((state) => state.offered)
  const given = use((state) => state.deploy)
  const target = given['for'] ?? 'envoy'
  const { first, more } = FIELDS[target] ?? { first: [], more: [] }
  const options = optionsOf(given)
  const [found, setFound] = useState<Rendered | string | null>(null)
  const asked = JSON.stringify(options)
  useEffect(() => {
    let isLatest = true
    if (!valid) setFound(null)
    else void rendered(options).then((file) => { if (isLatest) setFound(file) })
    return () => { isLatest = false }
  }, [checked, name, asked])
  const put = (option: string, value: string) => {
    const { [option]: _, ...rest } = get().deploy
    set({ deploy: value === '' || (option === 'for' && value === 'envoy') ? rest : { ...rest, [option]: value } })
  }
  const field = (each: Field) => <Option key={each.option} field={each} value={given[each.option] ?? ''} usual={offered?.usual[each.option] ?? ''} put={(value) => put(each.option, value)} />
  const switches = SWITCHES.filter(([way]) => way !== 'off' || target === 'envoy-filter')
  return (
    <div class="split deploy">
      <form class="options" onSubmit={(event) => event.preventDefault()}>
        <label>Where it shall run
          <select value={target} onChange={(event) => put('for', event.currentTarget.value)}>
            {(offered?.targets ?? []).map(({ word }) => <option key={word} value={word}>{WORDS[word] ?? word}</option>)}
          </select>
        </label>
        <p class="hint">{offered?.targets.find(({ word }) => word === target)?.about}.</p>
        {first.map(field)}
        <details open={more.some(({ option }) => (given[option] ?? '') !== '') || given['switch'] !== undefined}>
          <summary>More options</summary>
          {more.map(field)}
          {!['limitador', 'ratelimit'].includes(target) && (
            <label>Instead, in an emergency
              <select value={switches.some(([way]) => way === given['switch']) ? given['switch'] : ''} onChange={(event) => put('switch', event.currentTarget.value)}>{switches.map(([way, words]) => <option key={way} value={way}>{words}</option>)}</select>
            </label>
          )}
        </details>
      </form>
      <div class="results">
        {!valid && <p class="hint">{text.trim() === '' ? 'There is no policy yet.' : 'The policy has to be valid first.'}</p>}
        {typeof found === 'string' && <p class="problem" role="status">{found}</p>}
        {found !== null && typeof found !== 'string' && <File found={found} target={target} options={options} />}
      </div>
    </div>
  )
}

function Option({ field: { option, label, placeholder = '', about = '' }, value, usual, put }: { field: Field; value: string; usual: string; put(value: string): void }): JSX.Element {
  const draft = useLiveDraft(value, (next) => put(next.trim()))
  return (
    <label>{label}
      <input type="text" name={option} {...draft} placeholder={usual || placeholder} spellcheck={false} />
      {about !== '' && <small class="hint">{about}</small>}
    </label>
  )
}

/// The options that belong to the file: those of another one are kept, but say nothing of this.
function optionsOf(given: Record<string, string>): Record<string, string> {
  const target = given['for'] ?? 'envoy'
  const { first, more } = FIELDS[target] ?? { first: [], more: [] }
  const known = new Set([...first, ...more].map(({ option }) => option))
  const isSwitch = (value: string) => !['limitador', 'ratelimit'].includes(target) && (value !== 'off' || target === 'envoy-filter')
  const own = Object.entries(given).filter(([option, value]) => known.has(option) || (option === 'switch' && isSwitch(value)))
  return { for: target, ...Object.fromEntries(own) }
}

async function rendered(options: Record<string, string>): Promise<Rendered | string> {
  const { engine, name, text } = get()
  try {
    return await engine.render(withEnding(name, text), options)
  } catch (error) {
    return (error as Error).message
  }
}

/// A sentence with names in it.
function inWords(text: string): (string | JSX.Element)[] {
  return text.split('`').map((piece, number) => (number % 2 === 1 ? <code>{piece}</code> : piece))
}

function File({ found, target, options }: { found: Rendered; target: string; options: Record<string, string> }): JSX.Element {
  const { text: policy, name } = get()
  const file = withEnding(name, policy)
  const stem = file.replace(/\.\w+$/, '')
  const own = target === 'json' ? `${stem}.json` : target === 'envoy-filter' ? 'mcp_policy.yaml' : `${target}.yaml`
  const { for: _, ...rest } = options
  const words = Object.entries(rest).flatMap(([option, value]) => [`--${option}`, /^[\w@%+=:,./-]+$/.test(value) ? value : `'${value.replaceAll("'", String.raw`'\''`)}'`])
  return (
    <>
      <p class="row">
        <button class="main" onClick={() => download(own, found.text)}>Save {own}</button>
        <button class="quiet" onClick={() => void navigator.clipboard.writeText(found.text).then(() => say('copied'))}>Copy</button>
      </p>
      {found.notes.length > 0 && <ul class="notes">{found.notes.map(({ place, note }) => <li key={place + note}><code>{place}</code> {inWords(note)}</li>)}</ul>}
      <pre class="command whole" tabIndex={0} aria-label={own}>{found.text.length > LONGEST ? `${found.text.slice(0, LONGEST)}\n…` : found.text}</pre>
      <p class="hint">The command writes the same, byte for byte:</p>
      <pre class="command line" tabIndex={0}>{['mcp-policy render', file, `--for ${target}`, ...words].join(' ')}</pre>
    </>
  )
}

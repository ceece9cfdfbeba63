// The tools of a server: what each can do, where it stands in the policy, and moving it elsewhere, many at once.

import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import type { JSX } from 'preact'
import { at, edited, editedAll } from './document'
import { paths } from './complete'
import { LANES, LANE_WORDS, moved, record, list, rootOf, standings, type Entry, type Lane, type Standing } from './policy'
import { example, get, put, say, set, setCall, settled, setTools, use, type Tool } from './store'

/// The height of a row, in units of the page's type.
const ROW_REM = 3.1
const RISKS = ['low', 'medium', 'high', 'critical']

type Target = Exclude<Lane, 'none'>

/// Moves tools to a lane: a change of the text, as if somebody had typed it.
export function move(names: readonly string[], lane: Target): void {
  moveAll(new Map([[lane, names]]))
}

function moveAll(lanes: ReadonlyMap<Target, readonly string[]>): void {
  let text = settled()
  const { value, call, tools } = get()
  const known = new Map(tools.map((tool) => [tool.name, tool]))
  if (text.trim() === '') text = 'version: "1"\ndefault: deny\ntools: {}\n'
  const root = rootOf(value, call.policy)
  const policy = at(value, root)
  const entries = record(at(policy, ['tools'])) as Record<string, Entry | null>
  const hidden = list(at(policy, ['hide']))
  const next = new Map<string, Entry>()
  const hide = new Set(hidden)
  for (const [lane, names] of lanes) {
    for (const name of names) {
      const own = Object.hasOwn(entries, name) ? (entries[name] ?? {}) : undefined
      // An entry of a hidden tool goes on saying what it said.
      if (lane === 'hide') hide.add(name)
      else {
        hide.delete(name)
        next.set(name, moved(own, lane, paths(known.get(name))[0] ?? 'args.name'))
      }
    }
  }
  try {
    if (next.size > 0) text = editedAll(text, [...root, 'tools'], next)
    if (hide.size !== hidden.length || hidden.some((each) => !hide.has(each))) text = edited(text, [...root, 'hide'], hide.size > 0 ? [...hide] : undefined)
    put(text)
    const said = [...lanes].map(([lane, names]) => `${names.length === 1 ? names[0] : `${names.length} tools`}: ${LANE_WORDS[lane]}`)
    say(said.join('; '))
    const custom = lanes.get('custom')?.[0]
    // Its condition is only a beginning.
    if (custom !== undefined) {
      set({ view: 'form' })
      setTimeout(() => document.querySelector(`[aria-label=${JSON.stringify(`Entry ${custom}`)}]`)?.scrollIntoView({ block: 'nearest' }))
    }
  } catch (error) {
    say((error as Error).message)
  }
}

export function Tools(): JSX.Element {
  const tools = use((state) => state.tools)
  return (
    <section class="pane tools" id="tools" aria-labelledby="tools-title" onDragOver={(event) => event.preventDefault()} onDrop={(event) => void dropped(event)}>
      <header>
        <h2 id="tools-title">Tools</h2>
        {tools.length > 0 && <span class="count">{tools.length}</span>}
        {tools.length > 0 && <button class="quiet" onClick={() => set({ tools: [], judged: new Map(), seen: null })}>Other tools…</button>}
      </header>
      {tools.length > 0 ? <Sorted tools={tools} /> : <Import />}
    </section>
  )
}

async function dropped(event: DragEvent): Promise<void> {
  const file = event.dataTransfer?.files[0]
  if (!file) return
  event.preventDefault()
  take(await file.text())
}

function take(text: string): string {
  try {
    setTools(text)
    return ''
  } catch (error) {
    const problem = (error as Error).message
    say(problem)
    return problem
  }
}

function Import(): JSX.Element {
  const [text, setText] = useState('')
  const [problem, setProblem] = useState('')
  return (
    <div class="import">
      <p>Give the page a server's tools, and it says what each can do.</p>
      <label for="tools-text">The answer to <code>tools/list</code>, or what <code>mcp-policy scan --as tools</code> prints</label>
      <textarea id="tools-text" rows={7} spellcheck={false} placeholder={'{"tools": [{"name": "create_refund", …}]}'} value={text}
        onInput={(event) => setText(event.currentTarget.value)} />
      {problem !== '' && <p class="problem" role="alert">{problem}</p>}
      <div class="row">
        <button class="main" disabled={text.trim() === ''} onClick={() => setProblem(take(text))}>Show the tools</button>
        <label class="file">Open a file
          <input type="file" accept=".json,application/json" onChange={(event) => {
            const file = event.currentTarget.files?.[0]
            if (file) void file.text().then((read) => setProblem(take(read)))
          }} />
        </label>
      </div>
      <p class="hint">You can also drop a file here. It stays on your machine.</p>
    </div>
  )
}

type Order = 'listed' | 'name' | 'risk' | 'lane'

function Sorted({ tools }: { tools: readonly Tool[] }): JSX.Element {
  const value = use((state) => state.value)
  const policy = use((state) => state.call.policy)
  const judged = use((state) => state.judged)
  const [filter, setFilter] = useState('')
  const [lane, setLane] = useState<Lane | ''>('')
  const [order, setOrder] = useState<Order>('risk')
  const [active, setActive] = useState('')
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set())
  const standing = useMemo(() => standings(at(value, rootOf(value, policy)), tools), [value, policy, tools])
  const shown = useMemo(() => {
    const words = filter.toLowerCase().split(/\s+/).filter(Boolean)
    const fits = (tool: Tool) => {
      const judgement = judged.get(tool.name)
      const text = `${tool.name} ${judgement?.class} ${judgement?.severity} ${tool.description ?? ''}`.toLowerCase()
      return words.every((word) => text.includes(word)) && (lane === '' || standing.get(tool.name)?.lane === lane)
    }
    const found = tools.filter(fits)
    const rank = (tool: Tool) => RISKS.indexOf(judged.get(tool.name)?.severity ?? '')
    const lanes = Object.keys(LANE_WORDS)
    if (order === 'name') found.sort((a, b) => a.name.localeCompare(b.name))
    if (order === 'risk') found.sort((a, b) => rank(b) - rank(a) || a.name.localeCompare(b.name))
    if (order === 'lane') found.sort((a, b) => lanes.indexOf(standing.get(a.name)?.lane ?? 'none') - lanes.indexOf(standing.get(b.name)?.lane ?? 'none'))
    return found
  }, [tools, judged, standing, filter, lane, order])
  const targets = chosen.size > 0 ? [...chosen] : active !== '' ? [active] : []
  const counts = new Map<Lane, number>()
  for (const { lane: each } of standing.values()) counts.set(each, (counts.get(each) ?? 0) + 1)
  return (
    <>
      <div class="row filters">
        <label class="grow"><span class="unseen">Filter the tools</span>
          <input type="search" placeholder="name, class, risk…" value={filter} onInput={(event) => setFilter(event.currentTarget.value)} />
        </label>
        <label><span class="unseen">Show</span>
          <select value={lane} onChange={(event) => setLane(event.currentTarget.value as Lane | '')}>
            <option value="">all</option>
            {Object.entries(LANE_WORDS).map(([id, word]) => <option key={id} value={id}>{word} ({counts.get(id as Lane) ?? 0})</option>)}
          </select>
        </label>
        <label><span class="unseen">Sort by</span>
          <select value={order} onChange={(event) => setOrder(event.currentTarget.value as Order)}>
            <option value="risk">by risk</option><option value="name">by name</option><option value="lane">by what happens</option><option value="listed">as listed</option>
          </select>
        </label>
      </div>
      <Lanes targets={targets} />
      <List shown={shown} standing={standing} active={active} chosen={chosen} setActive={setActive} setChosen={setChosen} />
      <About name={active} standing={standing.get(active)} />
      <SortAll tools={shown} />
    </>
  )
}

function Lanes({ targets }: { targets: readonly string[] }): JSX.Element {
  const what = targets.length === 1 ? targets[0] : `${targets.length} tools`
  return (
    <div class="lanes" role="group" aria-label="Move the chosen tools to">
      {LANES.map(({ id, word, key, about }) => (
        <button key={id} class={`lane ${id}`} disabled={targets.length === 0} title={`${targets.length > 0 ? what : 'A chosen tool'} ${about} (key ${key})`} onClick={() => move(targets, id)}
          onDragOver={(event) => event.preventDefault()} onDrop={(event) => {
            event.stopPropagation()
            event.preventDefault()
            const names = event.dataTransfer?.getData('text/plain').split('\n').filter(Boolean) ?? []
            if (names.length > 0) move(names, id)
          }}>{word}</button>
      ))}
    </div>
  )
}

interface ListProps {
  shown: readonly Tool[]
  standing: ReadonlyMap<string, Standing>
  active: string
  chosen: ReadonlySet<string>
  setActive(name: string): void
  setChosen(names: ReadonlySet<string>): void
}

function List({ shown, standing, active, chosen, setActive, setChosen }: ListProps): JSX.Element {
  const judged = use((state) => state.judged)
  const seen = use((state) => state.seen)
  const box = useRef<HTMLDivElement>(null)
  const [top, setTop] = useState(0)
  const [height, setHeight] = useState(600)
  const [row, setRow] = useState(46)
  useEffect(() => {
    const element = box.current
    if (!element) return
    const watch = new ResizeObserver(() => {
      setHeight(element.clientHeight)
      setRow(Math.round(ROW_REM * parseFloat(getComputedStyle(document.documentElement).fontSize)))
    })
    watch.observe(element)
    return () => watch.disconnect()
  }, [])
  const first = Math.max(0, Math.floor(top / row) - 4)
  const last = Math.min(shown.length, Math.ceil((top + height) / row) + 4)
  const index = shown.findIndex((tool) => tool.name === active)
  const go = (to: number, extend: boolean) => {
    const next = shown[Math.max(0, Math.min(shown.length - 1, to))]
    if (!next) return
    setActive(next.name)
    if (extend) setChosen(new Set([...chosen, ...(active ? [active] : []), next.name]))
    const place = Math.max(0, Math.min(shown.length - 1, to)) * row
    const element = box.current
    if (element && place < element.scrollTop) element.scrollTop = place
    else if (element && place + row > element.scrollTop + element.clientHeight) element.scrollTop = place + row - element.clientHeight
  }
  const toggle = (name: string) => {
    const next = new Set(chosen)
    if (!next.delete(name)) next.add(name)
    setChosen(next)
  }
  const pressed = (event: KeyboardEvent) => {
    const page = Math.max(1, Math.floor(height / row) - 1)
    const steps: Record<string, number> = { ArrowDown: index + 1, ArrowUp: index - 1, PageDown: index + page, PageUp: index - page, Home: 0, End: shown.length - 1 }
    const to = steps[event.key]
    const lane = LANES.find(({ key }) => key === event.key)
    if (to !== undefined) go(to, event.shiftKey)
    else if (event.key === ' ' && active !== '') toggle(active)
    else if (event.key === 'a' && (event.ctrlKey || event.metaKey)) setChosen(new Set(shown.map((tool) => tool.name)))
    else if (event.key === 'Escape') setChosen(new Set())
    else if (event.key === 'Enter' && active !== '') choose(active)
    else if (lane && !event.ctrlKey && !event.metaKey && !event.altKey) move(chosen.size > 0 ? [...chosen] : [active], lane.id)
    else return
    event.preventDefault()
  }
  return (
    <div class="list" ref={box} role="listbox" aria-multiselectable="true" aria-label="Tools. Space chooses one; a, l, p, d, h, c move what is chosen." tabIndex={0}
      {...(active !== '' && index >= first && index < last ? { 'aria-activedescendant': `tool-${index}` } : {})}
      onScroll={(event) => setTop(event.currentTarget.scrollTop)} onKeyDown={pressed} onFocus={() => active === '' && go(0, false)}>
      <div role="presentation" style={{ height: `${shown.length * row}px` }}>
        <div role="presentation" style={{ transform: `translateY(${first * row}px)` }}>
          {shown.slice(first, last).map((tool, offset) => {
            const judgement = judged.get(tool.name)
            const stands = standing.get(tool.name)
            const picked = chosen.has(tool.name)
            return (
              <div key={tool.name} id={`tool-${first + offset}`} role="option" aria-selected={picked} aria-setsize={shown.length} aria-posinset={first + offset + 1} draggable
                style={{ height: `${row}px` }} class={`tool${tool.name === active ? ' active' : ''}${picked ? ' picked' : ''}`}
                onDragStart={(event) => event.dataTransfer?.setData('text/plain', picked ? [...chosen].join('\n') : tool.name)}
                onClick={(event) => {
                  if (event.ctrlKey || event.metaKey) toggle(tool.name)
                  else if (event.shiftKey && index >= 0) setChosen(new Set(shown.slice(Math.min(index, first + offset), Math.max(index, first + offset) + 1).map((each) => each.name)))
                  else setChosen(new Set())
                  setActive(tool.name)
                  choose(tool.name)
                }}>
                <span class="name">{tool.name}</span>
                <span class={`stands ${stands?.lane ?? 'none'}`}>{LANE_WORDS[stands?.lane ?? 'none']}{stands?.by ? ` by ${stands.by}` : ''}</span>
                <span class={`risk ${judgement?.severity ?? ''}`}>{judgement?.severity} · {judgement?.class}</span>
                {seen && <span class="eye">{seen.has(tool.name) ? 'seen' : 'not seen'}</span>}
              </div>
            )
          })}
        </div>
      </div>
    </div>
  )
}

/// Puts a tool into the call that is tried.
function choose(name: string): void {
  const { call, tools } = get()
  if (call.tool !== name) setCall({ tool: name, args: example(tools.find((tool) => tool.name === name)), message: '' })
}

function About({ name, standing }: { name: string; standing: Standing | undefined }): JSX.Element | null {
  const judgement = use((state) => state.judged.get(name))
  const tool = use((state) => state.tools.find((each) => each.name === name))
  if (!judgement || !tool) return <p class="hint about">Choose a tool: with the mouse, or with the arrow keys. Drag it to what shall become of it, or press the letter.</p>
  const hints = Object.entries(tool.annotations ?? {}).filter(([, hint]) => typeof hint === 'boolean')
  return (
    <div class="about" aria-live="polite">
      <p><b>{name}</b> is <b>{judgement.class}</b>, risk <b class={`risk ${judgement.severity}`}>{judgement.severity}</b>{standing?.by ? `; ${LANE_WORDS[standing.lane].toLowerCase()} by ${standing.by}` : ''}</p>
      <ul>{judgement.evidence.map((each) => <li key={each}>{each}</li>)}</ul>
      {hints.length > 0 && <p class="hint">The server says: {hints.map(([hint, said]) => `${hint} ${String(said)}`).join(', ')}. A server can say anything.</p>}
      {judgement.description !== '' && <p class="hint">“{judgement.description}”</p>}
    </div>
  )
}

/// A first sorting by what the tools can do, to be looked over by a person.
function SortAll({ tools }: { tools: readonly Tool[] }): JSX.Element {
  const judged = use((state) => state.judged)
  const sort = () => {
    const lanes = new Map<Target, string[]>()
    for (const { name } of tools) {
      const judgement = judged.get(name)
      const isRisky = judgement?.severity === 'high' || judgement?.severity === 'critical'
      const lane = judgement?.class === 'execute' ? 'deny' : isRisky ? 'approve' : judgement?.class === 'write' ? 'limit' : 'allow'
      const own = lanes.get(lane)
      if (own) own.push(name)
      else lanes.set(lane, [name])
    }
    moveAll(lanes)
  }
  return <button class="quiet wide" onClick={sort} title="Reads are allowed, writes limited; a person is asked about what is risky; running code is denied.">Sort these {tools.length} by what they can do</button>
}

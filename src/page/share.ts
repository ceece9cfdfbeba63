// The state in the address: what stands behind `#` is not sent to any server.

import { unpacked } from './engine'
import { NO_CALL, get, set, type Call, type Tool } from './store'

export interface Shared {
  text: string
  tests?: string
  tools?: Tool[]
  call?: Partial<Call>
  view?: 'form' | 'text'
}

/// Longer addresses are cut by programs that carry them.
const LONGEST = 60_000

function letters(bytes: Uint8Array): string {
  let text = ''
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192))
  return btoa(text).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
}

export function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  const plain = atob(text.replaceAll('-', '+').replaceAll('_', '/'))
  const bytes = new Uint8Array(plain.length)
  for (let at = 0; at < plain.length; at += 1) bytes[at] = plain.charCodeAt(at)
  return bytes
}

async function packed(shared: Shared): Promise<string> {
  const stream = new Blob([JSON.stringify(shared)]).stream().pipeThrough(new CompressionStream('gzip'))
  return letters(new Uint8Array(await new Response(stream).arrayBuffer()))
}

let number = 0

/// Puts the state into the address. Tools that make it too long stay out of it; so does a policy that is too long by itself.
export async function remember(): Promise<'all' | 'without tools' | 'nothing'> {
  const { text, tests, tools, call, view, file } = get()
  const own = ++number
  // A page that was served with a file has the file.
  if (file !== '') return 'nothing'
  const said = Object.fromEntries(Object.entries(call).filter(([key, value]) => value !== NO_CALL[key as keyof Call]))
  const rest: Shared = { text, view, ...(tests ? { tests } : {}), ...(Object.keys(said).length > 0 ? { call: said } : {}) }
  let hash = tools.length > 0 && tools.length <= 500 ? await packed({ ...rest, tools }) : ''
  let kept: 'all' | 'without tools' | 'nothing' = tools.length === 0 || hash !== '' ? 'all' : 'without tools'
  if (hash === '' || hash.length > LONGEST) {
    hash = await packed(rest)
    kept = tools.length > 0 ? 'without tools' : 'all'
  }
  if (hash.length > LONGEST) return 'nothing'
  const empty = text === '' && tests === '' && tools.length === 0
  if (own === number) history.replaceState(null, '', empty ? location.pathname + location.search : `#${hash}`)
  return kept
}

/// Takes the state from the address, if there is any.
export async function recall(): Promise<Shared | null> {
  const hash = location.hash.slice(1)
  if (hash === '' || hash.startsWith('token=')) return null
  try {
    const text = new TextDecoder().decode(await unpacked(bytesOf(hash)))
    const shared = JSON.parse(text) as Shared
    if (typeof shared.text !== 'string') return null
    return shared
  } catch {
    set({ failed: 'The address holds no policy that can be read: perhaps a part of it was lost.' })
    return null
  }
}

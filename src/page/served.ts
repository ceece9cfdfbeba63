// The page as `mcp-policy page` serves it: with a policy that it saves back to. Everywhere else there is no such thing, and nothing is asked for.

import type { Shared } from './share'
import { get, say, set } from './store'

interface Given extends Shared {
  file: string
  token: string
}

function given(): Given | null {
  const element = document.getElementById('served')
  return element?.textContent ? (JSON.parse(element.textContent) as Given) : null
}

export async function served(): Promise<Shared | null> {
  const found = given()
  if (!found) return null
  set({ file: found.file, name: found.file, saved: found.text })
  return Promise.resolve(found)
}

/// The deployment file that `mcp-policy render` writes of the text; nothing where no command is behind the page.
export async function rendered(target: string): Promise<string | null> {
  const found = given()
  return found ? asked(found, 'render', { text: get().text, for: target }) : null
}

async function asked(found: Given, what: string, body: unknown): Promise<string> {
  const answer = await fetch(what, { method: 'POST', headers: { 'content-type': 'application/json', 'x-mcp-policy-token': found.token }, body: JSON.stringify(body) })
  const said = await answer.text()
  if (!answer.ok) throw new Error(said)
  return said
}

export async function saveBack(): Promise<void> {
  const found = given()
  if (!found) return
  const { text, tests } = get()
  try {
    await asked(found, 'save', { text, tests })
    set({ saved: text })
    say(`saved to ${found.file}`)
  } catch (error) {
    set({ failed: `Not saved: ${(error as Error).message}` })
  }
}

// A second engine, for what must not touch the counters of the call that is tried: attacks, other policies, whole logs.

import { Engine } from './engine'
import { set } from './store'

let ready: Engine | null = null

export async function prepareSecond(bytes: BufferSource): Promise<void> {
  ready = await Engine.start(bytes)
  set({ second: true })
}

export function second(): Engine | null {
  return ready
}

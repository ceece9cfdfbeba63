// The thread in which an engine runs, so that nobody who types waits for it. Questions come as JSON and are answered in their order; several in
// one message have nothing between them.

import { bytesOf, unpacked } from './packing'

/// The engine, packed; or questions, which are answered until the time is over.
export type ToWorker = { engine: string } | { id: number; questions: string[]; within: number }

/// An answer to each question that there was time for. Where the engine has failed stands why.
export interface FromWorker { id: number; answers: (string | { failed: string })[] }

interface Exports {
  memory: WebAssembly.Memory
  room(length: number): number
  ask(length: number): number
}

const writer = new TextEncoder()
const reader = new TextDecoder()
let module: WebAssembly.Module
let exports: Exports

function begin(): void {
  exports = new WebAssembly.Instance(module).exports as unknown as Exports
}

function answer(question: string): string | { failed: string } {
  const bytes = writer.encode(question)
  try {
    const room = exports.room(bytes.length)
    new Uint8Array(exports.memory.buffer, room, bytes.length).set(bytes)
    const length = exports.ask(bytes.length)
    return reader.decode(new Uint8Array(exports.memory.buffer, exports.room(0), length))
  } catch (error) {
    // An engine that has failed is not asked again.
    begin()
    return { failed: String(error) }
  }
}

// What comes while the engine starts waits for it.
let ready: Promise<unknown> = Promise.resolve()

addEventListener('message', ({ data }: MessageEvent<ToWorker>) => {
  ready = ready.then(async () => {
    if ('engine' in data) {
      module = await WebAssembly.compile(await unpacked(bytesOf(data.engine)))
      return begin()
    }
    const end = performance.now() + data.within
    const answers: FromWorker['answers'] = []
    for (const question of data.questions) {
      answers.push(answer(question))
      if (performance.now() > end) break
    }
    postMessage({ id: data.id, answers } satisfies FromWorker)
  })
  ready.catch((error: unknown) => { throw error })
})

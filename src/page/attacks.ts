// Attacks on the policy, made out of the call that is tried: what agents, and those who write to them, have tried elsewhere. The engine
// judges each as it would judge any message.

import { attacks as cases, type StockAttack } from 'stock'
import { Trouble, type Step } from './engine'
import { second } from './second'
import { get, stepOf, withEnding } from './store'

/// A case of the repository, sent against the policy.
export interface Case {
  attack: StockAttack
  sent: { call: string; decision: string; reason: string; wanted: boolean }[]
  through: boolean
  /// Whether calls alone play it. What a server answers, sessions that it opens and approvals that come are for the end-to-end tests.
  played: boolean
  /// Whether nothing but the names of its tools stops it: this policy knows none of them.
  unknown: boolean
}

const FORWARDED = ['allow', 'pass', 'would_deny', 'would_ask']
const forwarded = (decision: string) => FORWARDED.includes(decision)

const PLAYED = new Set(['call', 'post', 'caller', 'session', 'headers', 'becomes', 'reason'])

/// Every case of `policies/attacks` against the policy, its calls one after the other.
export function knownAttacks(): Case[] {
  const { text, name, checked, call } = get()
  const engine = second()
  if (!engine || !checked?.valid || cases.length === 0) return []
  engine.check(withEnding(name, text), text, '', call.policy)
  return cases.map((attack) => {
    if (!attack.steps.every((step) => Object.keys(step).every((key) => PLAYED.has(key)))) return { attack, sent: [], through: false, played: false, unknown: false }
    engine.reset()
    const sent = attack.steps.flatMap(({ call: called, post, caller, session, headers, becomes }) => {
      const body = called ?? post
      if (body === undefined || (becomes !== 'stopped' && becomes !== 'runs')) return []
      const step: Step = { call: body, ...(caller ? { caller } : {}), ...(session ? { session } : {}), ...(headers ? { headers } : {}) }
      try {
        const { decision, reason = '' } = engine.try(step, false).answer
        return [{ call: called ? `${called.tool} ${JSON.stringify(called.arguments ?? {})}` : String(post), decision, reason, wanted: becomes === 'runs' }]
      } catch (error) {
        if (error instanceof Trouble) return []
        throw error
      }
    })
    const bad = sent.filter(({ wanted }) => !wanted)
    return { attack, sent, played: true, through: bad.some(({ decision }) => forwarded(decision)), unknown: bad.length > 0 && bad.every(({ reason }) => reason === 'tool_not_allowed') }
  })
}

export interface Attacked {
  name: string
  body: string
  decision: string
  reason: string
  /// Whether it is forwarded although the call itself is not, or is another call in disguise.
  through: boolean
}

interface Attack {
  name: string
  body: string
  /// Whether a policy that lets the call pass may let this pass too.
  alike: boolean
}

function made(tool: string, args: string): Attack[] {
  const call = (name: string, written: string) => `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":${JSON.stringify(name)},"arguments":${written}}}`
  const read = JSON.parse(args === '' ? '{}' : args) as Record<string, unknown>
  const found: Attack[] = [
    { name: 'the name in capitals', body: call(tool.toUpperCase(), args), alike: false },
    { name: 'a space behind the name', body: call(`${tool} `, args), alike: false },
    { name: 'an invisible character in the name', body: call(`${tool.slice(0, 1)}\u200b${tool.slice(1)}`, args), alike: false },
    { name: 'a letter that looks alike', body: call(tool.replace(/[aeo]/, (letter) => ({ a: 'а', e: 'е', o: 'о' })[letter] ?? letter), args), alike: false },
    { name: 'letters of full width', body: call([...tool].map((letter) => (/[!-~]/.test(letter) ? String.fromCharCode(letter.charCodeAt(0) + 0xfee0) : letter)).join(''), args), alike: false },
    { name: 'the name twice', body: call(tool, args).replace('"params":{', '"params":{"name":"harmless",'), alike: false },
    { name: 'the arguments twice', body: call(tool, args).replace('"arguments":', '"arguments":{},"arguments":'), alike: false },
    { name: 'a key in capitals beside the arguments', body: call(tool, args).replace('"arguments":', '"Arguments":{},"arguments":'), alike: false },
    { name: 'the method in capitals', body: call(tool, args).replace('tools/call', 'Tools/Call'), alike: false },
    { name: 'in a batch', body: `[${call(tool, args)}]`, alike: true },
    { name: 'a second message behind it', body: `${call(tool, args)}${call('other', '{}')}`, alike: false },
    { name: 'arguments as text', body: call(tool, JSON.stringify(args)), alike: false },
  ]
  for (const [key, value] of Object.entries(read)) {
    const swapped = (next: string) => call(tool, args.replace(JSON.stringify(value), () => next))
    if (typeof value === 'number') {
      found.push({ name: `${key} as text`, body: swapped(JSON.stringify(String(value))), alike: true })
      found.push({ name: `${key} below zero`, body: swapped(String(-Math.abs(value) - 1)), alike: true })
      found.push({ name: `${key} beyond what a double holds`, body: swapped('99999999999999999999'), alike: true })
      found.push({ name: `${key} in a list`, body: swapped(`[${JSON.stringify(value)}]`), alike: true })
    }
    if (typeof value === 'string') {
      found.push({ name: `${key} with an invisible character`, body: swapped(JSON.stringify(`${value}\u200b`)), alike: true })
      found.push({ name: `${key} out of its folder`, body: swapped(JSON.stringify(`${value}/../../etc/passwd`)), alike: true })
      found.push({ name: `${key} as a list`, body: swapped(JSON.stringify([value])), alike: true })
    }
    found.push({ name: `${key} twice`, body: call(tool, args.replace('{', () => `{${JSON.stringify(key)}:null,`)), alike: false })
    found.push({ name: `${key} in capitals beside itself`, body: call(tool, args.replace('{', () => `{${JSON.stringify(key.toUpperCase())}:null,`)), alike: true })
  }
  return found
}

export function attacks(): Attacked[] {
  const { engine, checked, call } = get()
  if (!engine || !checked?.valid || call.tool === '') return []
  try {
    const step = { ...stepOf({ ...call, message: '' }), repeat: 1 }
    const own = forwarded(engine.try(step, true).answer.decision)
    return made(call.tool, JSON.stringify(JSON.parse(call.args.trim() === '' ? '{}' : call.args))).map(({ name, body, alike }) => {
      const { decision, reason = '' } = engine.try({ ...step, call: body }, true).answer
      return { name, body, decision, reason, through: forwarded(decision) && !(own && alike) }
    })
  } catch {
    return []
  }
}

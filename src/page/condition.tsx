// A condition as a sentence: `args.amount is at most 10000`, `args.customer is what is in identity.customer`.

import type { JSX } from 'preact'
import { schema } from 'stock'
import { at, type Path } from './document'
import { paths, schemaAt } from './complete'
import { Hours, WORKING_HOURS, instant } from './hours'
import { OPERATORS, operand, operandText, type Operator } from './policy'
import { use } from './store'
import { change, changeMembers, Choice, Field, Remove } from './words'

// What the language has and this page has no words for is shown as it is written.
const KNOWN = ((at(schema, ['$defs', 'condition', 'properties', 'op', 'enum']) as string[] | undefined) ?? []).map((op): Operator => OPERATORS.find((each) => each.op === op) ?? { op, words: op, takes: 'any' })

/// The comparisons: each with a value, and those that take one with another field too.
const COMPARISONS = [
  ...KNOWN.map(({ op, words }) => [op, words] as const),
  ...KNOWN.filter(({ field }) => field).map(({ op, words }) => [`${op} from`, `${words} what is in`] as const),
]

interface ConditionProps { path: Path; condition: Record<string, unknown>; tool: string; lead: string; remove(): void }

export function ConditionForm({ path, condition, tool, lead, remove }: ConditionProps): JSX.Element {
  const known = use((state) => state.tools.find((each) => each.name === tool))
  const keys = use((state) => state.checked?.keys)
  const outcome = use((state) => outcomeOf(state.tried?.answer.rules, path, condition))
  const argument = String(condition['path'] ?? '')
  const op = String(condition['op'] ?? 'eq')
  const isField = 'from' in condition
  const id = `c${path.join('-').replace(/\W/g, '_')}`
  const names = ['tool', 'identity.grant', ...(keys ?? []).map((key) => `identity.${key}`)]
  const compare = (next: string) => {
    const [word = 'eq', from] = next.split(' ')
    if (from) changeMembers(path, { op: word, value: undefined, from: isField ? condition['from'] : names.at(-1) })
    else changeMembers(path, { op: word, value: valueFor(word, isField ? undefined : condition['value']), from: undefined })
  }
  return (
    <p class={`sentence condition ${outcome}`}>
      <span class="lead">{lead}</span>{' '}
      {argument.includes('[*]') && !op.startsWith('count_') && (
        <><Choice label="Of several" value={String(condition['every'] === true)} options={[['false', 'any of'], ['true', 'every one of']]} set={(next) => change([...path, 'every'], next === 'true' ? true : undefined)} />{' '}</>
      )}
      <Field label="Argument" value={argument} options={[...paths(known), ...names, 'now']} id={id} set={(next) => change([...path, 'path'], next)} />{' '}
      <Choice label="Comparison" value={isField ? `${op} from` : op} options={COMPARISONS} set={compare} />{' '}
      {isField
        ? <Field label="Other field" value={String(condition['from'] ?? '')} placeholder="args.other" options={[...names, ...paths(known).filter((each) => each !== argument)]} id={`${id}f`} set={(next) => change([...path, 'from'], next.trim())} />
        : <Value path={path} condition={condition} op={op} options={schemaAt(known, argument)?.enum?.map(String) ?? []} id={`${id}v`} />}
      {outcome !== '' && <span class="outcome">{outcome}</span>}
      <Remove label={`Remove this condition on ${argument}`} take={remove} />
    </p>
  )
}

/// What an operator is compared with after it was chosen: what is there, if it can be.
function valueFor(op: string, value: unknown): unknown {
  switch (KNOWN.find((each) => each.op === op)?.takes) {
    case 'hours': return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : WORKING_HOURS
    default: return operand(typeof value === 'object' && !Array.isArray(value) ? '' : operandText(value), op)
  }
}

function Value({ path, condition, op, options, id }: { path: Path; condition: Record<string, unknown>; op: string; options: readonly string[]; id: string }): JSX.Element {
  const { value } = condition
  const takes = KNOWN.find((each) => each.op === op)?.takes ?? 'any'
  switch (takes) {
    case 'hours': return <Hours path={[...path, 'value']} value={value} of={`the condition on ${String(condition['path'] ?? '')}`} />
    case 'flag': return <Choice label="Is there" value={String(value ?? true)} options={[['true', 'yes'], ['false', 'no']]} set={(next) => change([...path, 'value'], next === 'true')} />
    default: return (
      <Field label="Value" value={operandText(value)} placeholder={PLACEHOLDERS[takes]} options={takes === 'time' ? ['now'] : options} id={id}
        set={(next) => change([...path, 'value'], takes === 'time' ? instant(next) : operand(next, op))} />
    )
  }
}

const PLACEHOLDERS: Record<Operator['takes'], string> = {
  any: 'a value', text: 'a text', list: 'one, two, three', number: 'a number', time: 'now, or 2026-12-01', flag: '', hours: '',
}

function outcomeOf(rules: readonly { rule: string; conditions?: readonly { path: string; op: string; outcome: string }[] }[] | undefined, path: Path, condition: Record<string, unknown>): string {
  const pointer = path.slice(-5, -2).map((step) => `/${String(step).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')
  const rule = rules?.find((each) => each.rule === `/tools${pointer}`)
  return rule?.conditions?.find((each) => each.path === condition['path'] && each.op === condition['op'])?.outcome ?? ''
}

// Examples that show in ten seconds what a policy can say. Each has a server's tools, a policy, a call to try, and tests.

import { catalogue } from 'stock'
import { unpacked } from './engine'
import { bytesOf } from './share'
import { example, type Call, type Schema, type Tool } from './store'

export interface Example {
  name: string
  about: string
  text: string
  tools: Tool[]
  call: Partial<Call>
  tests: string
}

const object = (properties: Record<string, unknown>, required: string[] = []): Schema => ({ type: 'object', properties, required }) as Schema
const text = (description: string) => ({ type: 'string', description })

const shop: Tool[] = [
  { name: 'list_orders', description: 'Lists orders.', inputSchema: object({ status: { type: 'string', enum: ['open', 'sent', 'returned'] }, limit: { type: 'integer', minimum: 1, maximum: 100 } }), annotations: { readOnlyHint: true } },
  { name: 'get_customer', description: 'Fetches a customer, with address and notes.', inputSchema: object({ customer: text('The id of the customer.') }, ['customer']) },
  { name: 'create_refund', description: 'Refunds a payment, whole or in part.', inputSchema: object({ payment: text('The id of the payment.'), amount: { type: 'integer', minimum: 1, description: 'In cents.' }, currency: { type: 'string', enum: ['eur', 'usd'] } }, ['payment', 'amount']) },
  { name: 'send_email', description: 'Sends an email to a customer.', inputSchema: object({ to: text('The address.'), subject: text('The subject.'), body: text('The text.') }, ['to', 'subject']) },
  { name: 'update_order', description: 'Changes an order.', inputSchema: object({ order: text('The id.'), status: { type: 'string', enum: ['open', 'sent'] } }, ['order']) },
  { name: 'delete_customer', description: 'Deletes a customer and everything about him.', inputSchema: object({ customer: text('The id.') }, ['customer']), annotations: { destructiveHint: true } },
  { name: 'run_report', description: 'Runs an SQL statement on the reporting database.', inputSchema: object({ sql: text('The statement.') }, ['sql']) },
]

const files: Tool[] = [
  { name: 'read_file', description: 'Reads a file.', inputSchema: object({ path: text('Where it is.') }, ['path']), annotations: { readOnlyHint: true } },
  { name: 'list_directory', description: 'Lists a folder.', inputSchema: object({ path: text('Where it is.') }, ['path']), annotations: { readOnlyHint: true } },
  { name: 'write_file', description: 'Writes a file; one that is there is replaced.', inputSchema: object({ path: text('Where.'), content: text('What.') }, ['path', 'content']) },
  { name: 'move_file', description: 'Moves a file.', inputSchema: object({ source: text('From.'), destination: text('To.') }, ['source', 'destination']) },
  { name: 'delete_file', description: 'Deletes a file.', inputSchema: object({ path: text('Which.') }, ['path']), annotations: { destructiveHint: true } },
  { name: 'run_command', description: 'Runs a shell command.', inputSchema: object({ command: text('The command.'), args: { type: 'array', items: { type: 'string' } } }, ['command']) },
]

export const EXAMPLES: Example[] = [
  {
    name: 'refunds', about: 'An agent of a shop refunds small sums, a few times a day. A person does the rest.', tools: shop,
    text: `# What the agent of the shop may do. Amounts are in cents.
version: "1"
default: deny
hide: [run_report]
tools:
  list_*: {}
  get_customer: {rate_limit: 60/minute}

  # Small refunds pass; for a larger one the user is asked.
  create_refund:
    require:
      - conditions:
          - {path: args.amount, op: gt, value: 0}
          - {path: args.amount, op: lte, value: 10000}
        on_deny: Refund at most 100.00; a person refunds more.
    ask_if:
      - conditions: [{path: args.amount, op: gt, value: 5000}]
    approval: user
    limits:
      - {counter: refunds, window: day, max: 3}

  send_email:
    require:
      - conditions: [{path: args.to, op: regex, value: '^[\\w.+-]+@example\\.com$'}]
        on_deny: Write to one address at example.com.
    deny_if:
      - conditions: [{path: args.cc, op: exists, value: true}]
      - conditions: [{path: args.bcc, op: exists, value: true}]
    rate_limit: 10/hour
  delete_customer: {action: deny, reason: A person deletes customers.}
`,
    call: { tool: 'create_refund', args: '{"payment":"pay_1","amount":25000,"currency":"eur"}', caller: 'alice' },
    tests: `tests:
  - name: small refunds pass, three a day
    caller: alice
    steps:
      - {call: {tool: create_refund, arguments: {payment: p, amount: 100}}, repeat: 3, expect: allow}
      - {call: {tool: create_refund, arguments: {payment: p, amount: 100}}, expect: {decision: deny, reason: limit_reached}}
  - name: large refunds do not
    call: {tool: create_refund, arguments: {payment: p, amount: 25000}}
    expect: {decision: deny, reason: requirement_not_met, rule: /tools/create_refund/require/0}
`,
  },
  {
    name: 'files', about: 'A coding agent reads everything in one folder, writes to another, and runs nothing.', tools: files,
    text: `# One project, and no way out of it.
version: "1"
default: deny
tools:
  read_file:
    require:
      - conditions: [{path: args.path, op: regex, value: "^/work/project/"}]
    deny_if:
      - conditions: [{path: args.path, op: contains, value: ".."}]
        on_deny: Name the file without "..".
      - conditions: [{path: args.path, op: regex, value: "\\\\.(env|pem|key)$"}]
        on_deny: Secrets are not for an agent.
  list_directory: {rate_limit: 120/minute}
  write_file:
    require:
      - conditions: [{path: args.path, op: starts_with, value: /work/project/out/}]
        on_deny: Write below /work/project/out/.
    deny_if:
      - conditions: [{path: args.path, op: contains, value: ".."}]
    limits:
      - {counter: files, window: hour, max: 50}
  delete_file: {action: require_approval, approval: user, reason: What is deleted is gone.}
  run_command: {action: deny, reason: Running commands is not for this agent.}
`,
    call: { tool: 'read_file', args: '{"path":"/work/project/.env"}', caller: 'coder' },
    tests: `tests:
  - name: secrets stay where they are
    call: {tool: read_file, arguments: {path: /work/project/.env}}
    expect: {decision: deny, reason: denied_by_condition}
  - name: the project is read
    call: {tool: read_file, arguments: {path: /work/project/src/main.rs}}
    expect: allow
`,
  },
]

/// The servers for which the repository has policies.
export const CATALOGUE: readonly { name: string; about: string }[] = catalogue

/// One of them, with its tools. They are unpacked when somebody asks for one.
export async function ofCatalogue(name: string): Promise<Example | undefined> {
  const held = document.getElementById('catalogue')?.textContent?.trim() ?? ''
  const servers = JSON.parse(new TextDecoder().decode(await unpacked(bytesOf(held)))) as Omit<Example, 'call'>[]
  const found = servers.find((server) => server.name === name)
  const first = found?.tools.find((tool) => found.text.includes(tool.name)) ?? found?.tools[0]
  return found && { ...found, call: first ? { tool: first.name, args: example(first) } : {} }
}

// What `build.mjs` puts together out of the repository.
declare module 'stock' {
  export const catalogue: { name: string; about: string }[]
  export const attacks: StockAttack[]
  /// A case of `policies/attacks`.
  export interface StockAttack {
    name: string
    title: string
    line: string
    what: string
    beyond?: string
    incidents: { what: string; when: string; source?: string }[]
    /// The policy that stops it, in YAML.
    policy: string
    steps: { call?: { tool: string; arguments?: unknown }; post?: string; caller?: string; session?: string; headers?: Record<string, string>; becomes?: string }[]
  }
  export const schema: Record<string, unknown>
}

// What `build.mjs` puts together out of the repository.
declare module 'stock' {
  export const catalogue: { name: string; text: string; tests: string }[]
  export const schema: Record<string, unknown>
}

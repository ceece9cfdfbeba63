// The text of the policy: CodeMirror, in a shadow tree, so that its styles need no exception in the page's security policy.

import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap, type CompletionContext, type CompletionResult } from '@codemirror/autocomplete'
import { defaultKeymap, history, historyKeymap, indentWithTab } from '@codemirror/commands'
import { json } from '@codemirror/lang-json'
import { yaml } from '@codemirror/lang-yaml'
import { HighlightStyle, bracketMatching, foldGutter, foldKeymap, indentOnInput, indentUnit, syntaxHighlighting } from '@codemirror/language'
import { type Diagnostic, lintGutter, lintKeymap, setDiagnostics } from '@codemirror/lint'
import { highlightSelectionMatches, searchKeymap } from '@codemirror/search'
import { Compartment, EditorState, RangeSet, StateEffect, StateField, type Extension } from '@codemirror/state'
import { Decoration, EditorView, GutterMarker, drawSelection, gutter, highlightActiveLine, highlightActiveLineGutter, keymap, lineNumbers, type DecorationSet } from '@codemirror/view'
import { tags } from '@lezer/highlight'
import { type Syntax, syntaxOf } from './document'

const theme = EditorView.theme({
  '&': { height: '100%', backgroundColor: 'var(--paper)', color: 'var(--ink)', fontSize: 'var(--code)' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '1.55' },
  '.cm-content': { caretColor: 'var(--ink)' },
  '.cm-cursor': { borderLeftColor: 'var(--ink)', borderLeftWidth: '2px' },
  '&.cm-focused': { outline: '2px solid var(--focus)', outlineOffset: '-2px' },
  '.cm-gutters': { backgroundColor: 'var(--paper)', color: 'var(--quiet)', border: 'none' },
  '.cm-activeLine, .cm-activeLineGutter': { backgroundColor: 'var(--hover)' },
  '.cm-selectionBackground, &.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground': { backgroundColor: 'var(--chosen)' },
  '.cm-matchingBracket': { backgroundColor: 'var(--chosen) !important' },
  '.cm-tooltip': { backgroundColor: 'var(--paper)', color: 'var(--ink)', border: '1px solid var(--edge)', borderRadius: '6px', boxShadow: '0 4px 16px rgb(0 0 0 / .2)', maxWidth: 'min(32rem, 90vw)', zIndex: '20' },
  '.cm-tooltip-autocomplete ul li[aria-selected]': { backgroundColor: 'var(--accent)', color: 'var(--on-accent)' },
  '.cm-completionInfo': { whiteSpace: 'pre-wrap', fontFamily: 'var(--sans)' },
  '.cm-diagnostic': { fontFamily: 'var(--sans)', padding: '6px 10px' },
  '.cm-diagnosticAction': { font: 'inherit', cursor: 'pointer', backgroundColor: 'var(--accent)', color: 'var(--on-accent)', borderRadius: '4px', padding: '2px 8px', margin: '4px 6px 0 0', border: 'none' },
  '.cm-panels': { backgroundColor: 'var(--side)', color: 'var(--ink)' },
  '.cm-panels input, .cm-panels button': { font: 'inherit', color: 'inherit', backgroundColor: 'var(--paper)', backgroundImage: 'none', border: '1px solid var(--edge)' },
  '.cm-foldPlaceholder': { backgroundColor: 'var(--side)', color: 'var(--quiet)', border: 'none' },
  '.lit-deny': { backgroundColor: 'var(--deny-soft)', boxShadow: 'inset 3px 0 var(--deny)' },
  '.lit-ask': { backgroundColor: 'var(--ask-soft)', boxShadow: 'inset 3px 0 var(--ask)' },
  '.lit-allow': { boxShadow: 'inset 3px 0 var(--allow)' },
  '.cover': { width: '12px', paddingLeft: '3px' },
  '.uncovered': { color: 'var(--ask)' },
})

const colours = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: 'var(--code-key)' },
  { tag: [tags.string, tags.special(tags.string)], color: 'var(--code-text)' },
  { tag: [tags.number, tags.bool, tags.null, tags.keyword], color: 'var(--code-number)' },
  { tag: tags.comment, color: 'var(--quiet)', fontStyle: 'italic' },
  { tag: [tags.punctuation, tags.separator, tags.bracket], color: 'var(--quiet)' },
])

/// Rules that are lit up: they met the call that is tried.
export interface Light { from: number; to: number; kind: 'deny' | 'ask' | 'allow' }

const setLights = StateEffect.define<readonly Light[]>()
const lights = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(shown, transaction) {
    let next = shown.map(transaction.changes)
    for (const effect of transaction.effects) {
      if (effect.is(setLights)) {
        const { newDoc } = transaction
        const lines = new Map<number, Light['kind']>()
        for (const { from, to, kind } of effect.value) {
          if (from > to || to > newDoc.length) continue
          for (let line = newDoc.lineAt(from); ; line = newDoc.line(line.number + 1)) {
            if (kind !== 'allow' || !lines.has(line.from)) lines.set(line.from, kind)
            if (line.to >= to) break
          }
        }
        next = Decoration.set([...lines].map(([at, kind]) => Decoration.line({ class: `lit-${kind}` }).range(at)), true)
      }
    }
    return next
  },
  provide: (field) => EditorView.decorations.from(field),
})

class Uncovered extends GutterMarker {
  override toDOM(): HTMLElement {
    const mark = document.createElement('span')
    mark.className = 'uncovered'
    mark.textContent = '○'
    mark.title = 'no test covers this rule'
    return mark
  }
}
const uncovered = new Uncovered()
const setUncovered = StateEffect.define<readonly number[]>()
const coverage = StateField.define<RangeSet<GutterMarker>>({
  create: () => RangeSet.empty,
  update(shown, transaction) {
    let next = shown.map(transaction.changes)
    for (const effect of transaction.effects) {
      if (effect.is(setUncovered)) {
        const { doc } = transaction.state
        const lines = [...new Set(effect.value)].filter((line) => line >= 1 && line <= doc.lines).sort((a, b) => a - b)
        next = RangeSet.of(lines.map((line) => uncovered.range(doc.line(line).from)))
      }
    }
    return next
  },
})

const language = new Compartment()

function speak(syntax: Syntax): Extension {
  return syntax === 'json' ? json() : yaml()
}

export interface Wiring {
  label: string
  changed(text: string): void
  complete?(context: CompletionContext): CompletionResult | null
}

export class TextEditor {
  readonly view: EditorView
  private syntax: Syntax

  constructor(host: HTMLElement, text: string, wiring: Wiring) {
    const root = host.shadowRoot ?? host.attachShadow({ mode: 'open' })
    this.syntax = syntaxOf(text)
    const { complete } = wiring
    const state = EditorState.create({
      doc: text,
      extensions: [
        lineNumbers(), foldGutter(), highlightActiveLineGutter(), history(), drawSelection(), indentOnInput(), bracketMatching(), closeBrackets(),
        highlightActiveLine(), highlightSelectionMatches({ minSelectionLength: 3 }), indentUnit.of('  '), EditorView.lineWrapping,
        keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...searchKeymap, ...historyKeymap, ...foldKeymap, ...completionKeymap, ...lintKeymap]),
        // Tab leaves the editor, for who uses the keyboard alone; indentation is on Ctrl-].
        keymap.of([{ key: 'Alt-Tab', run: indentWithTab.run! }]),
        language.of(speak(this.syntax)), syntaxHighlighting(colours), theme, lights, lintGutter(),
        coverage, gutter({ class: 'cover', markers: (view) => view.state.field(coverage) }),
        EditorView.contentAttributes.of({ 'aria-label': wiring.label, tabindex: '0' }),
        ...(complete ? [autocompletion({ override: [(context) => complete(context)], icons: false })] : []),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) {
            this.follow(update.state.doc.toString())
            wiring.changed(update.state.doc.toString())
          }
        }),
      ],
    })
    this.view = new EditorView({ state, parent: root, root })
  }

  private follow(text: string): void {
    const syntax = syntaxOf(text)
    if (syntax !== this.syntax && text.trim() !== '') {
      this.syntax = syntax
      queueMicrotask(() => this.view.dispatch({ effects: language.reconfigure(speak(syntax)) }))
    }
  }

  get text(): string {
    return this.view.state.doc.toString()
  }

  /// Takes a text that was changed elsewhere.
  show(text: string): void {
    const before = this.text
    if (text === before) return
    let from = 0
    const most = Math.min(before.length, text.length)
    while (from < most && before[from] === text[from]) from += 1
    let end = 0
    while (end < most - from && before[before.length - 1 - end] === text[text.length - 1 - end]) end += 1
    this.view.dispatch({ changes: { from, to: before.length - end, insert: text.slice(from, text.length - end) } })
  }

  diagnose(found: readonly Diagnostic[]): void {
    const length = this.view.state.doc.length
    const fit = found.map((each) => ({ ...each, from: Math.min(each.from, length), to: Math.min(each.to, length) }))
    this.view.dispatch(setDiagnostics(this.view.state, fit))
  }

  light(shown: readonly Light[]): void {
    this.view.dispatch({ effects: setLights.of(shown) })
  }

  uncover(lines: readonly number[]): void {
    this.view.dispatch({ effects: setUncovered.of(lines) })
  }

  go(from: number, to = from): void {
    const length = this.view.state.doc.length
    const anchor = Math.min(from, length)
    this.view.dispatch({ selection: { anchor, head: Math.min(to, length) }, effects: EditorView.scrollIntoView(anchor, { y: 'center' }) })
    this.view.focus()
  }

  destroy(): void {
    this.view.destroy()
  }
}

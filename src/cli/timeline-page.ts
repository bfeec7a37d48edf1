/** A timeline as a page: one file that needs no other. What draws it is in `timeline-page.html`. */

import { readFileSync } from 'node:fs';
import { packageFile } from '../base/paths.js';
import type { Timeline } from '../sim/report/timeline.js';

export function timelinePage(timeline: Timeline): string {
  const { seed, workload } = timeline.report;
  const values: Readonly<Record<string, string>> = {
    title: escapeHtml(`linger sim: seed ${seed}, ${workload}`),
    run: embeddedJson(timeline),
  };
  const template = readFileSync(packageFile('src/cli/timeline-page.html'), 'utf8');
  // By a function: a `$` in what is put there means nothing.
  return template.replace(/\{\{(\w+)\}\}/g, (_, name: string) => values[name] as string);
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
};

function escapeHtml(text: string): string {
  return text.replace(/[&<>"]/g, (character) => ENTITIES[character] as string);
}

/** Nothing in it can end the script element that it is in, or begin a comment. */
function embeddedJson(value: unknown): string {
  return JSON.stringify(value).replaceAll('<', '\\u003c');
}

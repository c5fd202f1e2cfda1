// Uses the client that @hey-api/openapi-ts makes of the document: submits, follows, cancels and pages.
import { cancelCommand, getCommand, listCommands, projectEvents, runGit, runShell } from './sdk';
import type { StreamItem } from './sdk';
import { createClient } from './sdk/client';

// The name of an event tells the type of its data.
function ending(item: StreamItem): string | undefined {
  return item.event === 'complete' ? item.data.status : undefined;
}

async function main(url: string, key: string): Promise<void> {
  const client = createClient({ auth: key, baseUrl: url });
  const project = { project: 'demo' };
  const ran = await runShell({ client, path: project, body: { command: 'echo out; echo err >&2' }, throwOnError: true });
  const accepted = ran.data.data;
  const onSseEvent = (event: unknown) => {
    const status = ending(event as StreamItem);
    if (status) console.log('ended', status);
  };
  const query = { stream_id: accepted.stream_id };
  const { stream } = await projectEvents({ client, path: project, query, onSseEvent });
  for await (const event of stream) {
    if (!event) break;
    if ('line' in event) console.log(event.stream, event.line);
  }
  const git = await runGit({ client, path: project, body: { args: ['version'] }, throwOnError: true });
  const path = { ...project, command_id: git.data.data.id };
  const waited = await getCommand({ client, path, query: { wait: 30 }, throwOnError: true });
  console.log(waited.data.data.type, waited.data.data.status);
  const cancelled = await cancelCommand({ client, path, throwOnError: true });
  console.log('cancelled', cancelled.data.data.status);
  const first = await listCommands({ client, path: project, query: { limit: 1 }, throwOnError: true });
  const cursor = first.data.meta.next_cursor ?? undefined;
  const second = await listCommands({ client, path: project, query: { limit: 1, cursor }, throwOnError: true });
  console.log('pages', [...first.data.data, ...second.data.data].map((command) => command.type).join(' '));
  const missing = await getCommand({ client, path: { ...project, command_id: 'cmd-x' } });
  if (missing.error) console.log(missing.error.error.code);
}

main(process.argv[2], process.argv[3]);
